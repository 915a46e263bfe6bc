"""``stockade``: the command group. Each command lives in its own file and is imported only when it is run.

Called by the console scripts ``stockade`` and ``kubectl-stockade``. Exit status: 0 yes or done, 1 no (a denied connection, a
failed assertion), 2 the question could not be answered (bad input, no lab, no privileges).
"""

from __future__ import annotations

import importlib
import sys
from typing import ClassVar

import click

from stockade import __version__


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports a command's module at its first use."""

    commands_and_help: ClassVar[dict[str, str]] = {
        "check": "Is this connection allowed? Exit 0 yes, 1 no, 2 error.",
        "explain": "Why, step by step, and what the application would print.",
        "test": "Judge a file of assertions: who must reach whom, and who must not.",
        "validate": "Are these manifests what a cluster would take?",
        "up": "Start a lab: a small cluster on this machine.",
        "status": "Show what a lab runs.",
        "kubeconfig": "Print the path or the content of a lab's kubeconfig.",
        "down": "Stop a lab and remove everything it made.",
        "image": "Load, list and remove images for a lab's pods.",
        "outside": "Fetch a page as a client outside a lab's cluster does.",
        "node": "Cut a node of a lab off from the network, and heal it.",
        "render": "Print the nft rules of a node, each with its policy.",
        "drops": "Show denied packets with the policies that denied them.",
        "agent": "Run the node agent (what a DaemonSet runs).",
        "demo": "Play a NetworkPolicy recipe in a lab with kubectl.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands_and_help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.commands_and_help:
            return None
        command = importlib.import_module(f"stockade.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands_and_help.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="stockade")
def cli() -> None:
    """Kubernetes NetworkPolicy: decide, enforce, try and prove.

    \b
    Try it on this machine, as root, without a cluster:
      eval "$(stockade up)"
      kubectl run web --image=nginx --port 80 --expose --labels app=web
      stockade explain pod/web http://www.example.com/
      stockade down
    """


def main() -> None:
    """Run the command line; bad input ends with one clear line and exit status 2, never a traceback."""
    try:
        cli(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except (
        OSError
    ) as error:  # a file that may not be read, a full disk: what the system says, and never status 1
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        click.echo(f"stockade: {what}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
