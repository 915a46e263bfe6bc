"""``stockade status``: the labs of this user, or one lab with its nodes."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running, running_labs
from stockade.lab.processes import agents, first_process, node_of, of_lab
from stockade.lab.topology import NodePlan


@click.command("status", epilog="Example:  stockade status --name t1 -o json")
@lab_name
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(name: LabPaths, output: str) -> None:
    """Show whether a lab runs, where its kubeconfig is, and its nodes. Exit 0 when it runs, 1 when not."""
    facts = _facts(name)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
    else:
        for key, value in facts.items():
            click.echo(f"{key + ':':<12}{_node_lines(value) if isinstance(value, list) else value}")
    if facts["state"] != "running":
        others = [lab for lab in running_labs() if lab != name.name]
        if others and output == "text":
            click.echo(f"running labs: {', '.join(others)}", err=True)
        raise SystemExit(1)


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
        "log": str(paths.log),
        "nodes": _nodes(paths),
    }


def _nodes(paths: LabPaths) -> list[dict[str, object]]:
    plans = msgspec.json.decode(paths.nodes.read_bytes(), type=list[NodePlan]) if paths.nodes.exists() else []
    running = {node_of(process): process.pid for process in agents(paths)}
    return [
        {
            "name": plan.name,
            "addresses": plan.addresses,
            "podCIDRs": plan.pod_cidrs,
            "agent": running.get(plan.name),
            "agentLog": str(paths.agent_log(plan.number)),
        }
        for plan in plans
    ]


def _node_lines(nodes: list[dict[str, Any]]) -> str:
    lines = []
    for node in nodes:
        agent = node["agent"] or "not running (restarted shortly; its rules stay in the kernel)"
        addresses, cidrs = (", ".join(node[key]) for key in ("addresses", "podCIDRs"))
        lines.append(f"{node['name']}: {addresses}; pods {cidrs}; agent {agent}")
    return ("\n" + " " * 12).join(lines)
