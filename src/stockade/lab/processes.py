"""Which processes of the host belong to a lab: those in the PID namespace of its first process.

In: the lab's paths. Out: host pids with their command lines. Called by ``stockade up``, ``status``, ``down`` and the lab's tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import msgspec

from stockade.lab.paths import LabPaths, is_running, wait_unlocked

PROC = Path("/proc")
GRACE = 5.0  # seconds until SIGTERM becomes SIGKILL, and until we give up


class Process(msgspec.Struct, frozen=True):
    pid: int
    command: tuple[str, ...]
    resident: int  # bytes


def first_process(paths: LabPaths) -> int | None:
    try:
        return int(paths.pid.read_text())
    except (OSError, ValueError):
        return _holder(paths.lock)


def _holder(lock: Path) -> int | None:
    """Who has the lab's lock open: when the process that starts the lab was ended, or has not yet written down which is its first.
    The first of a PID namespace, if there is one already."""
    try:
        wanted = lock.stat()
    except OSError:
        return None
    holders = [process.pid for process in _all() if _has_open(process.pid, wanted)]
    return next((pid for pid in holders if is_first(pid)), next(iter(holders), None))


def is_first(pid: int) -> bool:
    """Pid 1 of a PID namespace below the host's."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[2:][-1:] == ["1"]
    return False


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    return True
    return False


def of_lab(paths: LabPaths) -> list[Process]:
    """Those directly in the lab's PID namespace: zygote, daemon, agent; pods have namespaces of their own below it."""
    first = first_process(paths)
    if first is None:
        return []
    try:
        namespace = (PROC / str(first) / "ns" / "pid").readlink()
    except OSError:
        return []
    return [process for process in _all() if _namespace(process.pid) == namespace]


def agents(paths: LabPaths) -> list[Process]:
    return [process for process in of_lab(paths) if "agent" in process.command[:4]]


def is_stopped(pid: int) -> bool:
    """By a signal, as all processes of a paused node are."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def node_of(agent: Process) -> str:
    """The node that an agent serves, by its command line."""
    command = agent.command
    return command[command.index("--node") + 1] if "--node" in command[:-1] else ""


def stop(paths: LabPaths) -> bool:
    """End a lab: ask, then insist. False when it still runs. A pidfd makes sure that the process signalled is the one seen."""
    if not is_running(paths):
        return True
    first = first_process(paths)
    try:
        process = os.pidfd_open(first or 0)
    except OSError:
        return wait_unlocked(paths, 1.0)
    try:
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if wait_unlocked(paths, seconds):
                return True
    finally:
        os.close(process)
    return False


def _namespace(pid: int) -> Path | None:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "ns" / "pid").readlink()
    return None


def _all() -> list[Process]:
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                command = tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
                pages = int((entry / "statm").read_text().split()[1])
                found.append(Process(int(entry.name), command, pages * os.sysconf("SC_PAGE_SIZE")))
    return sorted(found, key=lambda process: process.pid)
