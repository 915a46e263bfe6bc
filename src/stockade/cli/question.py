"""What ``check``, ``explain`` and ``test`` have in common: where they read, what they are asked, how they speak.

In: the options. Out: an Asked (state and Question). Called by those commands.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import click
import msgspec

from stockade.analysis.ask import Answer, Question, ask
from stockade.analysis.target import TargetError
from stockade.analysis.workloads import names_workload
from stockade.cli.failure import Failure
from stockade.cli.validation import validate_option
from stockade.cli.world import read_state
from stockade.net.cidr import parse_address
from stockade.policy.evaluate import UnknownPodError
from stockade.report.path_text import Line
from stockade.report.terminal import visible
from stockade.store.state import ClusterState

MATCH = "match"  # of --ipblock-pods
Options = tuple[Callable[..., Any], ...]

WHERE: Options = (
    click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        help="Manifests: a file, a directory (recursive) or - for stdin. Without it the current cluster is read.",
    ),
    click.option("-n", "--namespace", default=None, help="Namespace of references without one."),
    click.option("--context", default=None, help="kubeconfig context."),
    click.option("--kubeconfig", default=None, type=click.Path(dir_okay=False), help="kubeconfig file."),
    validate_option,
)
READING: Options = (
    *WHERE,
    click.option(
        "--resolve", multiple=True, metavar="NAME=IP", help="The address of a name outside the cluster."
    ),
    click.option(
        "--ipblock-pods",
        type=click.Choice([MATCH, "ignore"]),
        default=MATCH,
        show_default=True,
        help="Whether an ipBlock matches addresses of pods; enforcers differ.",
    ),
)
ASKING: Options = (
    click.argument("source", metavar="FROM"),
    click.argument("target", metavar="TO"),
    *READING,
    click.option("-p", "--port", default="", metavar="PORT", help="Port of TO, or a range: 8000-8100."),
    click.option("--protocol", default="", metavar="NAME", help="tcp, udp, sctp or icmp."),
)
# What check and explain say alike, below their own text.
REFERENCES = """

A reference without a namespace, FROM or TO, is in the one given with -n; without -n, TO is where FROM is. Host names and URLs follow
the search list of the pod that connects, whatever -n says. svc/NAME includes the DNS lookup of the Service's name, as a host name
and a URL do.
"""
FORMATS = ("text", "json")
STYLES: dict[str, dict[str, Any]] = {
    "ok": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "dim": {"dim": True},
    "warn": {"fg": "yellow"},
}


class Asked(msgspec.Struct, frozen=True):
    """A question, and the state it is about."""

    state: ClusterState
    question: Question
    output: str


def with_options(command: Callable[..., None], options: Options) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def arguments(command: Callable[..., None]) -> Callable[..., None]:
    """FROM TO and the options; the decorated function gets an Asked first, and what options it adds itself."""
    return arguments_with()(command)


def arguments_with(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same with more output formats than text and JSON."""
    output = click.option(
        "-o", "--output", type=click.Choice([*FORMATS, *formats]), default=FORMATS[0], show_default=True
    )
    return functools.partial(_decorated, options=(*ASKING, output))


def _decorated(command: Callable[..., None], *, options: Options) -> Callable[..., None]:

    @functools.wraps(command)
    def wrapped(
        *,
        source: str,
        target: str,
        files: tuple[str, ...],
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        resolve: tuple[str, ...],
        ipblock_pods: str,
        validation: str,
        port: str,
        protocol: str,
        output: str,
        **more: Any,
    ) -> None:
        hosts = hosts_of(resolve)
        state, current = read_state(
            files,
            context=context,
            kubeconfig=kubeconfig,
            namespace=namespace,
            workloads=names_workload(source) or names_workload(target),
            validation=validation,
        )
        question = Question(
            source=source,
            target=target,
            namespace=namespace or current,
            target_namespace=namespace or "",
            hosts=hosts,
            port=port,
            protocol=protocol,
            blocks_match_pods=ipblock_pods == MATCH,
        )
        command(Asked(state, question, output), **more)

    wrapped.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}{REFERENCES}"
    return with_options(wrapped, options)


def answer(asked: Asked, *, with_remedy: bool = False) -> Answer:
    """Bad references end the command with one line that says what would be right."""
    try:
        return ask(asked.state, asked.question, with_remedy=with_remedy)
    except (TargetError, UnknownPodError) as error:
        raise Failure(str(error)) from error


def echo_lines(lines: Iterable[Line]) -> None:
    for style, text in lines:
        click.echo(click.style(visible(text), **STYLES.get(style, {})))


def echo_json(data: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(data)).decode())


def hosts_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """Names outside: those of the lab's simulated Internet, and what --resolve adds."""
    from stockade.lab.addresses import OUTSIDE_NAMES  # noqa: PLC0415 - a module of constants

    hosts = dict(OUTSIDE_NAMES)
    for pair in pairs:
        name, _, address = pair.partition("=")
        try:
            parse_address(address)
        except ValueError:
            raise Failure(f"--resolve {pair}: write NAME=IP, e.g. www.example.com=93.184.216.34") from None
        hosts[name.rstrip(".")] = address
    return hosts
