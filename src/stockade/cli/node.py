"""``stockade node``: cut a lab's node off from the others and heal it; pause it and resume it."""

from __future__ import annotations

import asyncio

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running

LINK, STATE = "stockade.dev/link", "stockade.dev/state"  # lab.partition's, which --help must not load


@click.group("node")
def command() -> None:
    """Cut a node of a lab off from the network, or pause it, and undo that."""


@command.command("cut", epilog="Example:  stockade node cut lab-node-2")
@click.argument("node")
@lab_name
def cut(node: str, name: LabPaths) -> None:
    """Cut NODE off: no packet to or from other nodes, the API or the simulated Internet.

    Its pods run on, and the rules in its kernel stay. Its agent and kubelet hear nothing: after 40 s without a sign of life the
    node is NotReady, as in any cluster.
    """
    _annotate(name, node, LINK, "cut")
    click.echo(f"node {node} is cut off", err=True)


@command.command("heal", epilog="Example:  stockade node heal lab-node-2")
@click.argument("node")
@lab_name
def heal(node: str, name: LabPaths) -> None:
    """Undo a cut."""
    _annotate(name, node, LINK, None)
    click.echo(f"node {node} is connected again", err=True)


@command.command("pause", epilog="Example:  stockade node pause lab-node-2")
@click.argument("node")
@lab_name
def pause(node: str, name: LabPaths) -> None:
    """Stop NODE as a machine that stands still: its pods, its agent, its kubelet.

    Its kernel goes on forwarding and filtering by the rules that it has, so connections to its pods are accepted and get no answer.
    After 40 s without a sign of life the node is NotReady and its pods are no endpoints, as in any cluster.
    """
    _annotate(name, node, STATE, "paused")
    click.echo(f"node {node} is paused", err=True)


@command.command("resume", epilog="Example:  stockade node resume lab-node-2")
@click.argument("node")
@lab_name
def resume(node: str, name: LabPaths) -> None:
    """Let a paused NODE go on; it then learns what has changed."""
    _annotate(name, node, STATE, None)
    click.echo(f"node {node} goes on", err=True)


def _annotate(paths: LabPaths, node: str, annotation: str, value: str | None) -> None:
    from stockade.kube.client import ApiClient  # noqa: PLC0415 - --help must not load all this
    from stockade.kube.config import load  # noqa: PLC0415
    from stockade.kube.errors import KubeError  # noqa: PLC0415
    from stockade.kube.resources import NODES  # noqa: PLC0415

    if not is_running(paths):
        raise Failure(f"no lab named {paths.name!r} is running")

    async def write() -> None:
        async with ApiClient(load(paths.kubeconfig)) as api:
            await api.patch(NODES, "", node, {"metadata": {"annotations": {annotation: value}}})

    try:
        asyncio.run(write())
    except KubeError as error:
        raise Failure(str(error)) from error
