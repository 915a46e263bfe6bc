"""The processes of one node: started as ``Spawner`` starts them, and stopped all together while the node is paused.

In: the lab's ``Spawner``. Out: the same interface, for the node's kubelet part and its agent; ``freeze`` and ``thaw`` for ``lab.nodes``.
A paused node is a machine that stands still: what runs gets SIGSTOP, what is to be started waits, and the signals that a clock of the
kubelet part sends meanwhile (grace periods, liveness) arrive afterwards.

Stopped are a container's processes by their PID namespace, and the agent. Parents are stopped before their children and go on after them:
a shell must not see its command stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from stockade.lab.node import wire
from stockade.lab.node.spawner import Command, Process, Spawner, Streams

_PROC = Path("/proc")
_STOPPED = "Tt"
_MOST_PASSES = 50  # a process may fork while we look


class NodeProcesses:
    """``awake``: cleared while the node is paused."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._running: dict[int, bool] = {}
        """Process id → whether it is in a PID namespace of a pod."""
        self._held: list[tuple[int, int]] = []
        self._waiting: list[tuple[int, int, bool]] = []
        self.awake = asyncio.Event()
        self.awake.set()

    async def spawn_plain(self, command: Command, streams: Streams, *, netns: int) -> Process:
        await self.awake.wait()
        return self._keep(await self._spawner.spawn_plain(command, streams, netns=netns), in_pod=False)

    async def spawn_container(
        self,
        command: Command,
        streams: Streams,
        *,
        root: wire.Root,
        hostname: str,
        netns: int,
        cgroups: Sequence[str] = (),
        beside: int | None = None,
    ) -> Process:
        await self.awake.wait()
        made = await self._spawner.spawn_container(
            command, streams, root=root, hostname=hostname, netns=netns, cgroups=cgroups, beside=beside
        )
        return self._keep(made, in_pod=True)

    async def spawn_pause(self, *, mountpoint: str, netns: int) -> Process:
        await self.awake.wait()
        made = await self._spawner.spawn_pause(mountpoint=mountpoint, netns=netns)
        return self._keep(made, in_pod=True)

    async def spawn_exec(self, command: Command, streams: Streams, *, init: int) -> Process:
        await self.awake.wait()
        return self._keep(await self._spawner.spawn_exec(command, streams, init=init), in_pod=True)

    def kill(self, pid: int, number: int, *, group: bool = False) -> None:
        if self.awake.is_set():
            self._spawner.kill(pid, number, group=group)
        else:
            self._waiting.append((pid, number, group))

    def freeze(self) -> None:
        """Idempotent. Everything of the node stands still when this returns."""
        self.awake.clear()
        for _ in range(_MOST_PASSES):
            if not self._stop_those_that_run():
                return

    def thaw(self) -> None:
        """Idempotent. What was stopped before the pause stays so."""
        for pid, started in reversed(self._held):
            if _started(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        self._held.clear()
        self.release()

    def release(self) -> None:
        """Let signals pass; for a node that ends, which needs nothing to go on."""
        self.awake.set()
        waiting, self._waiting = self._waiting, []
        for pid, number, group in waiting:
            if pid in self._running:
                self._spawner.kill(pid, number, group=group)

    def _keep(self, process: Process, *, in_pod: bool) -> Process:
        self._running[process.pid] = in_pod
        process.on_end(lambda: self._running.pop(process.pid, None))
        if not self.awake.is_set():  # paused while it started
            self.freeze()
        return process.by(self)

    def _stop_those_that_run(self) -> bool:
        running = sorted(self._members(), key=lambda found: (found[1], found[0]))
        for pid, started in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._held.append((pid, started))
        return bool(running)

    def _members(self) -> Iterator[tuple[int, int]]:
        """(process id, start time) of those that are not stopped."""
        namespaces = {_namespace(str(pid)) for pid, in_pod in self._running.items() if in_pod} - {""}
        for entry in os.listdir(_PROC) if namespaces or self._running else ():  # noqa: PTH208 - names alone, of thousands
            if not entry.isdecimal() or not (
                _namespace(entry) in namespaces or self._running.get(int(entry)) is False
            ):
                continue
            state = _stat(int(entry))
            if state and state[0] not in _STOPPED and state[0] != "Z":
                yield int(entry), int(state[19])


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"{_PROC}/{pid}/ns/pid")  # noqa: PTH115
    except OSError:  # ended meanwhile
        return ""


def _stat(pid: int) -> list[str]:
    """The fields after the command, from the state on (proc(5))."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[19]) if fields else -1
