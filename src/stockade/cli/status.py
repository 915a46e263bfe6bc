"""``stockade status``: the labs of this user, or one lab with its nodes and how their agents are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

import click
import msgspec

from stockade.agent.health import ask
from stockade.agent.status import AgentStatus, lines
from stockade.cli.options import lab_name, refuse_name_with_all
from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.kube.errors import ConfigError, KubeError
from stockade.kube.resources import NODES
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.node.cgroups import read_record
from stockade.lab.partition import is_cut, is_paused
from stockade.lab.paths import LabPaths, is_running, known_labs, running_labs
from stockade.lab.processes import agents, first_process, is_stopped, node_of, of_lab
from stockade.lab.topology import NodePlan, plan
from stockade.report.terminal import visible

ANSWER_SECONDS = 2.0
COLUMNS = ["NAME", "STATE", "PID", "MEMORY", "KUBECONFIG"]
PAUSED = "stopped, as its node is paused (stockade node resume); its rules stay in the kernel"
AWAY = "not running (restarted shortly; its rules stay in the kernel)"
ASLEEP = "starts when its node goes on (stockade node resume)"
CUT_OFF = "cut off from the network (stockade node heal)"


class NodeStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One node: what it was given, its agent's process (None: not running), what the agent says of itself, and what was done to the node."""

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...] = msgspec.field(name="podCIDRs")
    agent: int | None = None
    enforcing: AgentStatus | None = None
    cut: bool = False
    paused: bool = False


@click.command(
    "status", epilog="Examples:  stockade status --name t1 -o json\n\n           stockade status --all"
)
@lab_name
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--all", "every", is_flag=True, help="List all labs of this user, with exit status 0.")
def command(name: LabPaths, output: str, every: bool) -> None:
    """Show whether a lab runs, where its kubeconfig is, its nodes, and whether policies are in force on each. Exit 0 when it
    runs, 1 when not."""
    if every:
        refuse_name_with_all()
        _list([_facts(paths) for paths in known_labs()], output)
        return
    facts = _facts(name)
    nodes = asyncio.run(_nodes(name)) if facts["state"] == "running" else []
    if output == "json":
        shown = facts | ({"nodes": nodes} if nodes else {})
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
    else:
        _print(facts)
        for node in nodes:
            click.echo(f"node {node.name}")
            _print(_node_lines(node), indent="  ")
    if facts["state"] != "running":
        others = [lab for lab in running_labs() if lab != name.name]
        if others and output == "text":
            click.echo(f"running labs: {', '.join(others)}", err=True)
        raise SystemExit(1)


def _list(labs: Sequence[dict[str, object]], output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(labs)).decode())
        return
    rows = [COLUMNS, *([visible(str(lab.get(key.lower(), "-"))) for key in COLUMNS] for lab in labs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def _print(facts: Mapping[str, object], indent: str = "") -> None:
    for key, value in facts.items():
        click.echo(f"{indent}{key + ':':<12}{visible(str(value))}")


def _facts(paths: LabPaths) -> dict[str, object]:
    if not is_running(paths):
        crashed = paths.settings.exists() and paths.database.exists()
        return {
            "name": paths.name,
            "state": "crashed; restore it with stockade up" if crashed else "not running",
        }
    return {
        "name": paths.name,
        "state": "running",
        "kubeconfig": str(paths.kubeconfig),
        "pid": first_process(paths),
        "memory": f"{sum(process.resident for process in of_lab(paths)) // 2**20} MiB",
        "limits": read_record(paths.cgroups).problem or "resources.limits hold",
        "log": str(paths.log),
    }


async def _nodes(paths: LabPaths) -> list[NodeStatus]:
    plans = _plans(paths)
    running = {node_of(process): process.pid for process in agents(paths)}
    asked = (_asked(paths, each, running.get(each.name)) for each in plans)
    said, objects = await asyncio.gather(asyncio.gather(*asked), _objects(paths))
    return [
        NodeStatus(
            each.name,
            each.addresses,
            each.pod_cidrs,
            running.get(each.name),
            status,
            cut=each.name in objects and is_cut(objects[each.name]),
            paused=is_paused(objects.get(each.name)),
        )
        for each, status in zip(plans, said, strict=True)
    ]


async def _objects(paths: LabPaths) -> dict[str, JsonObject]:
    """Node objects by name; none of a lab whose API does not answer."""
    with contextlib.suppress(ConfigError, KubeError, TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS), ApiClient(load(paths.kubeconfig)) as api:
            listed = await api.list(NODES)
            return {each["metadata"]["name"]: each for each in listed}
    return {}


async def _asked(paths: LabPaths, node: NodePlan, agent: int | None) -> AgentStatus | None:
    """Nothing, at once, where the agent is stopped."""
    if agent is not None and is_stopped(agent):
        return None
    return await ask(str(paths.health(node.number)), ANSWER_SECONDS)


def _plans(paths: LabPaths) -> Sequence[NodePlan]:
    """As the daemon wrote them when it had made them; one node while it has not yet."""
    try:
        return msgspec.json.decode(paths.nodes.read_bytes(), type=tuple[NodePlan, ...])
    except (OSError, msgspec.MsgspecError):
        return plan(paths.name).nodes


def _node_lines(node: NodeStatus) -> dict[str, object]:
    told = {} if node.enforcing is None else lines(node.enforcing, time.time())
    return {
        "addresses": ", ".join(node.addresses),
        "pods": ", ".join(node.pod_cidrs),
        **({"network": CUT_OFF} if node.cut else {}),
        "agent": _agent(node),
        **told,
    }


def _agent(node: NodeStatus) -> str:
    if node.agent is None:
        return ASLEEP if node.paused else AWAY
    return f"{node.agent}, {PAUSED}" if is_stopped(node.agent) else str(node.agent)
