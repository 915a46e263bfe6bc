"""``stockade up``: start a lab, or restore one that crashed; wait until its nodes are Ready and its DNS answers; print the export line.

lock held              ─► it runs: say so
database and settings  ─► it crashed: start the same again
neither, or --fresh    ─► a new one
"""

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
from stockade.cli.lab_shape import Asked, check_running, held_settings, how_to_stop
from stockade.cli.options import lab_name
from stockade.lab.interpreter import open_read_only
from stockade.lab.node.cgroups import remove_recorded
from stockade.lab.paths import LabPaths, UnsafeStateError, is_running, take_lock
from stockade.lab.preflight import SEARCH_PATH, missing_requirement
from stockade.lab.processes import stop
from stockade.lab.settings import Settings
from stockade.lab.topology import MOST_NODES


@click.command("up", epilog='Example:  eval "$(stockade up --name t1)" && kubectl get pods -A')
@lab_name
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="API port on 127.0.0.1. Default: a free one; the same as before for a lab that crashed.",
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
    help="How many nodes, each with its own network and policy agent. Default: 1.",
)
@click.option(
    "--ip-family",
    type=click.Choice(["auto", "dual", "ipv4"]),
    help="Addresses of pods, Services and nodes: IPv4 and IPv6, or IPv4 alone; auto (the default) is both where this machine has IPv6.",
)
@click.option(
    "--agent-options",
    metavar="OPTIONS",
    callback=lambda _ctx, _param, value: None if value is None else _agent_options(value),
    help="Options of stockade agent for this lab's agents. Example: --agent-options '--denied reject --live-flows keep'",
)
@click.option("--fresh", is_flag=True, help="Start anew even if there are objects of a lab that crashed.")
def command(
    name: LabPaths,
    port: int | None,
    timeout: float,
    nodes: int | None,
    ip_family: str | None,
    agent_options: list[str] | None,
    fresh: bool,
) -> None:
    """Start a lab: API server, nodes, DNS, Services, policy agents. Needs nft, and root or user namespaces.

    Prints the line that points kubectl at it. The host sees no interface, route, firewall rule or mount of the lab: all
    of it lives in namespaces that end with the lab. A lab that crashed is restored: the same objects, addresses and
    credentials; its pods' containers start again as their restart policy says.
    """
    if reason := missing_requirement():
        raise Failure(reason)
    if not name.fits_sockets:
        why = "is too long for the sockets in it; choose a shorter --name, or a shorter XDG_STATE_HOME"
        raise Failure(f"{name.directory} {why}")
    started = time.monotonic()
    asked = Asked(nodes, ip_family, port, agent_options)
    with _only_one(name):
        if is_running(name):
            check_running(name, asked, fresh=fresh)
            click.echo(f"lab {name.name!r} is already running; {how_to_stop(name)}", err=True)
            _print_export(name)
            return
        remove_recorded(name.cgroups)
        if fresh:
            name.remove()
        held = held_settings(name)
        settings = asked.of_new() if held is None else asked.like(name, held)
        if held is None:
            name.remove()
        name.make()
        name.sweep()
        answer: dict[str, str] = {}
        try:
            answer = _start(name, timeout, settings)
        finally:
            if "server" not in answer:
                remove_recorded(name.cgroups)
            if held is None and "server" not in answer:
                name.forget()  # nobody was told of a lab here
                if not name.log.exists() or not name.log.stat().st_size:
                    name.remove()  # refused before anything was tried: no log to read
    if "error" in answer:
        raise Failure(answer["error"])
    how = "restored" if "restored" in answer else "ready"
    what = f"node{'s' if settings.nodes > 1 else ''} {answer['nodes']}, API {answer['server']}"
    note = f"; {answer['note']}" if answer.get("note") else ""
    click.echo(f"lab {name.name!r} is {how} in {time.monotonic() - started:.1f} s: {what}{note}", err=True)
    _print_export(name)


def _print_export(paths: LabPaths) -> None:
    click.echo(f"export KUBECONFIG={shlex.quote(str(paths.kubeconfig))}")


@contextlib.contextmanager
def _only_one(paths: LabPaths) -> Iterator[None]:
    """Of two ``up`` of one name at the same moment, the second is refused and touches nothing of the first's."""
    try:
        paths.make_parent()
        lock = take_lock(paths.starting)
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


def _start(paths: LabPaths, timeout: float, settings: Settings) -> dict[str, str]:
    """Spawn the daemon and wait for the one line it writes when it is ready or has failed. Whatever ends the waiting otherwise
    (time, Ctrl-C) ends the lab, too."""
    reader, writer = os.pipe()
    log = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    program = open_read_only(sys.executable)
    arguments = [
        str(settings.port),
        str(writer),
        str(settings.nodes),
        settings.families,
        *settings.agent_options,
    ]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "stockade.lab.daemon", paths.name, *arguments],
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
        return {"error": f"the lab was not ready after {timeout:g} s; {_where_to_read(paths)}"}
    if not line:
        return {"error": f"the lab ended while starting; {_where_to_read(paths)}"}
    return msgspec.json.decode(line, type=dict[str, str])


def _where_to_read(paths: LabPaths) -> str:
    """An empty log is removed with the lab."""
    with contextlib.suppress(OSError):
        if paths.log.stat().st_size:
            return f"its log: {paths.log}"
    return "it has logged nothing; on a busy machine give it more time with --timeout"


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
