"""``stockade demo``: a lab, a recipe, kubectl, and everything cleaned up again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from stockade.cli.failure import Failure
from stockade.lab.paths import LabPaths

WIDTH = 118  # of output that goes to a file


@click.command("demo", epilog="Example:  stockade demo allow-port")
@click.argument("name", default="deny-egress", metavar="[RECIPE]")
@click.option("--list", "listed", is_flag=True, help="List the recipes.")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Also write the run as a picture."
)
@click.option("--kubectl", type=click.Path(exists=True, dir_okay=False), help="Which kubectl to drive.")
def command(*, name: str, listed: bool, svg: Path | None, kubectl: str | None) -> None:
    """Play a NetworkPolicy recipe with real kubectl in a lab of its own; "deny-egress" unless another is named.

    RECIPE is a name or a number of --list. Exit status 0 when everything printed and every connection was as the recipe says.
    """
    from rich.console import Console  # noqa: PLC0415 - only here

    from stockade.lab.demo.play import Player  # noqa: PLC0415
    from stockade.lab.demo.recipes import RECIPES, by_name  # noqa: PLC0415

    if listed:
        for known in RECIPES:
            click.echo(f"{known.number:4}{known.name:30}{known.title}")
        return
    recipe = by_name(name)
    if recipe is None:
        raise Failure(f"there is no recipe {name!r}; stockade demo --list names them")
    program = kubectl or _find_kubectl()
    paths = LabPaths.of(f"demo-{os.getpid()}")
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    started = time.monotonic()
    _stockade("up", "--name", paths.name, "--fresh")
    player = Player(recipe, console, kubectl=program, lab=paths)
    try:
        player.play(f"a cluster after {time.monotonic() - started:.1f} s")
    finally:
        _stockade("down", "--name", paths.name)
    player.finish(f"\n[dim]# the lab is gone; {time.monotonic() - started:.0f} s in all[/dim]", svg)
    if player.failures:
        raise Failure("the recipe did not play as written: " + "; ".join(player.failures))


def _find_kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise Failure("kubectl was not found; install it or name it with --kubectl")
    return found


def _stockade(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *arguments], stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
