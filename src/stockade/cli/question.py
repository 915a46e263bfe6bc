"""What ``check`` and ``explain`` have in common: their arguments, and the way from these to a Path."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from stockade.analysis.path import trace
from stockade.analysis.steps import Path, PathQuery
from stockade.analysis.target import TargetError, parse_pod
from stockade.cli.failure import Failure
from stockade.cli.world import read_state
from stockade.model.meta import ObjectRef
from stockade.net.cidr import parse_address
from stockade.policy.evaluate import UnknownPodError
from stockade.store.state import ClusterState

OPTIONS: tuple[Callable[..., Any], ...] = (
    click.argument("source", metavar="FROM"),
    click.argument("target", metavar="TO"),
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
    click.option(
        "--resolve", multiple=True, metavar="NAME=IP", help="The address of a name outside the cluster."
    ),
    click.option(
        "--ipblock-pods",
        type=click.Choice(["match", "ignore"]),
        default="match",
        show_default=True,
        help="Whether an ipBlock matches addresses of pods; enforcers differ.",
    ),
)
FORMATS = ("text", "json")


def arguments(command: Callable[[Path, str], None]) -> Callable[..., None]:
    """FROM TO and the options; the decorated function gets the Path and the output format."""
    return arguments_with()(command)


def arguments_with(
    *formats: str,
) -> Callable[[Callable[[Path, str], None]], Callable[..., None]]:
    """The same with more output formats than text and JSON."""
    output = click.option(
        "-o", "--output", type=click.Choice([*FORMATS, *formats]), default="text", show_default=True
    )
    return functools.partial(_decorated, options=(*OPTIONS, output))


def _decorated(
    command: Callable[[Path, str], None], *, options: tuple[Callable[..., Any], ...]
) -> Callable[..., None]:

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
        output: str,
    ) -> None:
        hosts = _hosts(resolve)
        state, current = read_state(files, context=context, kubeconfig=kubeconfig, namespace=namespace)
        query = PathQuery(
            parse_source(source, namespace or current),
            target,
            hosts,
            blocks_match_pods=ipblock_pods == "match",
        )
        command(ask(state, query), output)

    decorated: Callable[..., None] = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def parse_source(text: str, namespace: str) -> ObjectRef:
    try:
        return parse_pod(text, namespace)
    except TargetError as error:
        raise Failure(str(error)) from error


def ask(state: ClusterState, query: PathQuery) -> Path:
    """Bad references end the command with one line that says what would be right."""
    try:
        return trace(state, query)
    except (TargetError, UnknownPodError) as error:
        raise Failure(str(error)) from error


def _hosts(pairs: tuple[str, ...]) -> dict[str, str]:
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
