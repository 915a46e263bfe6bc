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
from stockade.cli.options import lab_name
from stockade.lab.interpreter import open_read_only
from stockade.lab.paths import LabPaths, UnsafeStateError, is_running, take_lock
from stockade.lab.preflight import SEARCH_PATH, has_ipv6, missing_requirement
from stockade.lab.processes import stop
from stockade.lab.settings import Settings, read
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
@click.option("--fresh", is_flag=True, help="Start anew even if there are objects of a lab that crashed.")
def command(
    name: LabPaths, port: int | None, timeout: float, nodes: int | None, ip_family: str | None, fresh: bool
) -> None:
    """Start a lab: API server, nodes, DNS, Services, policy agents. Needs root and nft.

    Prints the line that points kubectl at it. The host sees no interface, route, firewall rule or mount of the lab: all
    of it lives in namespaces that end with the lab. A lab that crashed is restored: the same objects, addresses and
    credentials; its pods' containers start again as their restart policy says.
    """
    if reason := missing_requirement():
        raise Failure(reason)
    started = time.monotonic()
    asked = Asked(nodes, ip_family, port)
    with _only_one(name):
        if is_running(name):
            _already(name, asked, fresh=fresh)
            return
        if fresh:
            name.remove()
        held = _held(name)
        settings = asked.of_new() if held is None else asked.like(name, held)
        if held is None:
            name.remove()
        name.make()
        name.sweep()
        answer = _start(name, timeout, settings)
        if "error" in answer and held is None:
            name.forget()  # nobody was told of a lab here
    if "error" in answer:
        raise Failure(answer["error"])
    how = "restored" if "restored" in answer else "ready"
    what = f"node{'s' if settings.nodes > 1 else ''} {answer['nodes']}, API {answer['server']}"
    note = f"; {answer['note']}" if answer.get("note") else ""
    click.echo(f"lab {name.name!r} is {how} in {time.monotonic() - started:.1f} s: {what}{note}", err=True)
    _print_export(name)


class Asked(msgspec.Struct, frozen=True):
    """The options that shape a lab, as far as given."""

    nodes: int | None
    ip_family: str | None
    port: int | None

    def of_new(self) -> Settings:
        return Settings(self.nodes or 1, _families(self.ip_family or "auto"), self.port or 0)

    def like(self, paths: LabPaths, held: Settings) -> Settings:
        """As before; only the port may be another one."""
        if difference := self.difference(held):
            again = f"stockade up --name {paths.name}"
            text = (
                f"the objects of lab {paths.name!r} are of a lab {difference}; restore it with: {again}; "
                f"or start anew, without them: {again} --fresh"
            )
            raise Failure(text)
        return Settings(held.nodes, held.families, held.port if self.port is None else self.port)

    def difference(self, held: Settings) -> str:
        if self.nodes not in (None, held.nodes):
            return f"with {held.nodes} node{'s' if held.nodes > 1 else ''}"
        if self.ip_family in ("dual", "ipv4") and self.ip_family != held.families:
            return "with IPv4 alone" if held.families == "ipv4" else "with IPv4 and IPv6"
        return ""


def _already(paths: LabPaths, asked: Asked, *, fresh: bool) -> None:
    """A lab that runs is what was wanted, unless it is another one."""
    down = f"stop it with: stockade down --name {paths.name}"
    if fresh:
        raise Failure(f"a lab named {paths.name!r} is running; {down}")
    held = _read_settings(paths)
    difference = asked.difference(held) if held is not None else ""
    if held is not None and not difference and asked.port not in (None, 0, held.port):
        difference = f"on port {held.port}"
    if difference:
        raise Failure(f"a lab named {paths.name!r} is already running, {difference}; {down}")
    click.echo(f"lab {paths.name!r} is already running; {down}", err=True)
    _print_export(paths)


def _held(paths: LabPaths) -> Settings | None:
    """How the lab was started whose objects are here."""
    if not paths.database.exists():
        return None
    held = _read_settings(paths)
    if held is None:
        why = f"there are objects of a lab {paths.name!r} in {paths.directory}, but not how it was started"
        raise Failure(f"{why}; {_anew(paths)}")
    return held


def _read_settings(paths: LabPaths) -> Settings | None:
    try:
        return read(paths)
    except ValueError as error:
        raise Failure(f"{error}; {_anew(paths)}") from error


def _anew(paths: LabPaths) -> str:
    return f"start anew, without its objects: stockade up --name {paths.name} --fresh"


def _print_export(paths: LabPaths) -> None:
    click.echo(f"export KUBECONFIG={shlex.quote(str(paths.kubeconfig))}")


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
        lock = take_lock(paths.starting)
    except UnsafeStateError as error:
        raise Failure(str(error)) from error
    if lock is None:
        raise Failure(f"a lab named {paths.name!r} is being started by another command")
    try:
        yield
    finally:
        os.close(lock)


def _start(paths: LabPaths, timeout: float, settings: Settings) -> dict[str, str]:
    """Spawn the daemon and wait for the one line it writes when it is ready or has failed. Whatever ends the waiting otherwise
    (time, Ctrl-C) ends the lab, too."""
    reader, writer = os.pipe()
    log = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    program = open_read_only(sys.executable)
    arguments = [str(settings.port), str(writer), str(settings.nodes), settings.families]
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
