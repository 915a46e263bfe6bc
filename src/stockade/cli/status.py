"""``stockade status``: the labs of this user, or one lab with its processes and how its agent is."""

from __future__ import annotations

import asyncio
import time

import click
import msgspec

from stockade.agent.health import ask
from stockade.agent.status import AgentStatus, lines
from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running, running_labs
from stockade.lab.processes import agents, first_process, of_lab
from stockade.report.terminal import visible

ANSWER_SECONDS = 2.0


@click.command("status", epilog="Example:  stockade status --name t1 -o json")
@lab_name
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(name: LabPaths, output: str) -> None:
    """Show whether a lab runs, where its kubeconfig is, its processes, and whether its policies are in force. Exit 0 when it
    runs, 1 when not."""
    facts = _facts(name)
    agent = asyncio.run(ask(str(name.health), ANSWER_SECONDS)) if facts["state"] == "running" else None
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(facts | _enforcing(agent))).decode())
    else:
        told = {} if agent is None else lines(agent, time.time())
        for key, value in (facts | told).items():
            click.echo(f"{key + ':':<12}{visible(str(value))}")
    if facts["state"] != "running":
        others = [lab for lab in running_labs() if lab != name.name]
        if others and output == "text":
            click.echo(f"running labs: {', '.join(others)}", err=True)
        raise SystemExit(1)


def _enforcing(agent: AgentStatus | None) -> dict[str, object]:
    return {} if agent is None else {"enforcing": agent}


def _facts(paths: LabPaths) -> dict[str, object]:
    if not is_running(paths):
        return {"name": paths.name, "state": "not running"}
    agent = agents(paths)
    return {
        "name": paths.name,
        "state": "running",
        "kubeconfig": str(paths.kubeconfig),
        "pid": first_process(paths),
        "agent": agent[0].pid if agent else "not running (restarted shortly; its rules stay in the kernel)",
        "memory": f"{sum(process.resident for process in of_lab(paths)) // 2**20} MiB",
        "log": str(paths.log),
    }
