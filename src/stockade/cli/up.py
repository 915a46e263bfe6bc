"""``stockade up``: start a lab, wait until its nodes are Ready and its DNS answers, print the export line."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import msgspec

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.interpreter import open_read_only
from stockade.lab.paths import LabPaths, UnsafeStateError, is_running, try_lock
from stockade.lab.preflight import SEARCH_PATH, has_ipv6, missing_requirement
from stockade.lab.processes import stop
from stockade.lab.topology import MOST_NODES


@click.command("up", epilog='Example:  eval "$(stockade up --name t1)" && kubectl get pods -A')
@lab_name
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="API port on 127.0.0.1; 0 picks a free one."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds to wait until Ready.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, MOST_NODES),
    default=1,
    show_default=True,
    help="How many nodes, each with its own network and policy agent.",
)
@click.option(
    "--ip-family",
    type=click.Choice(["auto", "dual", "ipv4"]),
    default="auto",
    show_default=True,
    help="Addresses of pods, Services and nodes: IPv4 and IPv6, or IPv4 alone; auto is both where this machine has IPv6.",
)
@click.option(
    "--agent-options",
    default="",
    metavar="OPTIONS",
    callback=lambda _ctx, _param, value: _agent_options(value),
    help="Options of stockade agent for this lab's agents. Example: --agent-options '--denied reject --live-flows keep'",
)
def command(
    name: LabPaths, port: int, timeout: float, nodes: int, ip_family: str, agent_options: list[str]
) -> None:
    """Start a lab: API server, nodes, DNS, Services, policy agents. Needs root and nft.

    Prints the line that points kubectl at it. The host sees no interface, route, firewall rule or mount of the lab: all
    of it lives in namespaces that end with the lab.
    """
    if reason := missing_requirement():
        raise Failure(reason)
    started = time.monotonic()
    with _only_one(name):
        if is_running(name):
            raise Failure(
                f"a lab named {name.name!r} is already running; stop it with: stockade down --name {name.name}"
            )
        name.remove()
        name.make()
        answer = _start(name, port, timeout, [str(nodes), _families(ip_family), *agent_options])
    if "error" in answer:
        raise Failure(answer["error"])
    what = f"node{'s' if nodes > 1 else ''} {answer['nodes']}, API {answer['server']}"
    click.echo(f"lab {name.name!r} is ready in {time.monotonic() - started:.1f} s: {what}", err=True)
    click.echo(f"export KUBECONFIG={shlex.quote(str(name.kubeconfig))}")


def _families(wanted: str) -> str:
    if wanted == "ipv4" or has_ipv6():
        return "ipv4" if wanted == "ipv4" else "dual"
    if wanted == "dual":
        raise Failure("this machine's kernel has no IPv6; run: stockade up --ip-family ipv4")
    click.echo("this machine's kernel has no IPv6: the lab has IPv4 alone", err=True)
    return "ipv4"


@contextlib.contextmanager
def _only_one(paths: LabPaths) -> Iterator[None]:
    """Of two ``up`` of one name at the same moment, the second is refused and touches nothing of the first's."""
    try:
        paths.make_parent()
        lock = try_lock(paths.starting)
    except UnsafeStateError as error:
        raise Failure(str(error)) from error
    if lock is None:
        raise Failure(f"a lab named {paths.name!r} is being started by another command")
    try:
        yield
    finally:
        os.close(lock)


def _agent_options(text: str) -> list[str]:
    """Checked here, for the agent's own complaint would come after the lab has started."""
    from stockade.cli.agent import command as agent  # noqa: PLC0415 - only when there are some
    from stockade.cli.agent_options import Choices, choices  # noqa: PLC0415

    try:
        options = shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error
    try:
        given = agent.make_context("agent", list(options), resilient_parsing=False)
        named = {key for key in given.params if given.get_parameter_source(key) is _COMMAND_LINE}
        choices({key: given.params[key] for key in Choices.__struct_fields__})
    except click.UsageError as error:
        raise click.BadParameter(error.format_message()) from error
    if others := sorted(named - {*Choices.__struct_fields__, "verify_seconds", "verbose"}):
        raise click.BadParameter(f"the lab itself sets the agent's --{others[0].replace('_', '-')}")
    return options


_COMMAND_LINE = click.core.ParameterSource.COMMANDLINE


def _start(paths: LabPaths, port: int, timeout: float, rest: list[str]) -> dict[str, str]:
    """Spawn the daemon and wait for the one line it writes when it is ready or has failed. Whatever ends the waiting otherwise
    (time, Ctrl-C) ends the lab, too."""
    reader, writer = os.pipe()
    log = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    program = open_read_only(sys.executable)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "stockade.lab.daemon", paths.name, str(port), str(writer), *rest],
        executable=f"/proc/self/fd/{program}",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(writer, program),
        start_new_session=True,
        cwd="/",
        env={**os.environ, "PATH": SEARCH_PATH},
    )
    os.close(writer)
    os.close(log)
    os.close(program)
    answer: dict[str, str] = {}
    try:
        answer = _answer(_read_line(reader, timeout), paths, timeout)
    finally:
        os.close(reader)
        if "server" not in answer:
            launcher.wait()  # it ends as soon as it has written down which process is the lab's first
            stop(paths)
    return answer


def _answer(line: bytes | None, paths: LabPaths, timeout: float) -> dict[str, str]:
    if line is None:
        return {"error": f"the lab was not ready after {timeout:g} s; its log: {paths.log}"}
    if not line:
        return {"error": f"the lab ended while starting; its log: {paths.log}"}
    return msgspec.json.decode(line, type=dict[str, str])


def _read_line(reader: int, timeout: float) -> bytes | None:
    """The line; empty when the other side closed without one; None when time is up."""
    deadline = time.monotonic() + timeout
    data = b""
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        chunk = os.read(reader, 4096)
        if not chunk:
            return data
        data += chunk
    return data
