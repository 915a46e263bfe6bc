"""What ``check`` and ``explain`` have in common: their arguments, and the way from these to a Path."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from stockade.analysis.path import Path, PathError, World, find_path, pods_of
from stockade.analysis.services import NoSuchPortError
from stockade.analysis.target import TargetError, parse_target
from stockade.cli.failure import Failure
from stockade.cli.world import read_world
from stockade.net.cidr import parse_address
from stockade.policy.evaluate import UnknownPodError, endpoint_for
from stockade.policy.verdict import Endpoint, PodEndpoint


def arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """FROM TO and the options; the decorated function gets ``path`` and ``output``."""

    @click.argument("source", metavar="FROM")
    @click.argument("target", metavar="TO")
    @click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        help="Manifests: a file, a directory (recursive) or - for stdin. Without it the current cluster is read.",
    )
    @click.option("-n", "--namespace", default=None, help="Namespace of references without one.")
    @click.option("--context", default=None, help="kubeconfig context.")
    @click.option("--kubeconfig", default=None, type=click.Path(dir_okay=False), help="kubeconfig file.")
    @click.option("--port", type=click.IntRange(1, 65535), help="Destination port, when TO names none.")
    @click.option(
        "--protocol",
        type=click.Choice(["TCP", "UDP", "SCTP"], case_sensitive=False),
        default="TCP",
        show_default=True,
    )
    @click.option(
        "--resolve", multiple=True, metavar="NAME=IP", help="The address of a name outside the cluster."
    )
    @click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
    @functools.wraps(command)
    def wrapped(
        source: str,
        target: str,
        files: tuple[str, ...],
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        port: int | None,
        protocol: str,
        resolve: tuple[str, ...],
        output: str,
    ) -> Any:
        world, default_namespace = read_world(
            files, context=context, kubeconfig=kubeconfig, namespace=namespace, names=_names(resolve)
        )
        path = ask(world, source, target, namespace or default_namespace, protocol.upper(), port)
        return command(path=path, output=output)

    return wrapped


def ask(world: World, source: str, target: str, namespace: str, protocol: str, port: int | None) -> Path:
    """Bad references end the command with one line that says what would be right."""
    try:
        return find_path(
            world, _source(world, source, namespace), parse_target(target, namespace), protocol, port
        )
    except (PathError, TargetError, NoSuchPortError, UnknownPodError) as error:
        raise Failure(str(error)) from error


def _source(world: World, text: str, namespace: str) -> Endpoint:
    target = parse_target(text, namespace)
    if target.kind == "address":
        return endpoint_for(world.compiled, parse_address(target.host))
    if target.kind not in {"pod", "deployment"}:
        raise TargetError(
            f"{text!r}: a connection starts at a pod or an IP address; write pod/NAME, deploy/NAME or an IP"
        )
    return PodEndpoint(pods_of(world.state, target)[0])


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        name, _, address = pair.partition("=")
        try:
            parse_address(address)
        except ValueError:
            raise Failure(f"--resolve {pair}: write NAME=IP, e.g. www.example.com=93.184.216.34") from None
        names[name.rstrip(".")] = address
    return names
