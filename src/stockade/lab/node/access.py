"""Reaching into running pods: ``runtime.Runtime`` for the API server.

In: a pod's uid, a container's name. Out: sessions, log lines, connections; NotRunningError with a text for the user. The texts are
those of a kubelet where it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import msgspec

from stockade.lab.node.container import Container
from stockade.lab.node.netns import open_connection
from stockade.lab.node.parts import Parts
from stockade.lab.node.pod import PodWorker
from stockade.lab.node.process import AttachSession, ExecSession, spawn_piped
from stockade.lab.node.runtime import LogOptions, NotRunningError, Session, StreamOptions
from stockade.lab.node.spawner import StartError


class PodAccess:
    def __init__(self, parts: Parts, workers: Mapping[str, PodWorker]) -> None:
        self._parts = parts
        self._workers = workers
        self.reachable = True

    def has(self, uid: str) -> bool:
        return uid in self._workers

    async def exec(self, uid: str, container: str, command: list[str], options: StreamOptions) -> Session:
        _, found = self._running(uid, container)
        if found.piped is None or found.command is None:
            raise NotRunningError(f'container not found ("{container}")')
        environment = dict(found.command.env)
        if options.tty:
            environment.setdefault("TERM", "xterm")
        what = msgspec.structs.replace(
            found.command, argv=command, env=environment, tty=options.tty, program=""
        )
        spawn = partial(self._parts.spawner.spawn_exec, what, init=found.piped.process.pid)
        try:
            piped = await spawn_piped(spawn, stdin=options.stdin or options.tty, tty=options.tty)
        except StartError as error:
            raise NotRunningError(
                f"failed to exec in container: OCI runtime exec failed: exec failed: unable to start container process: {error}"
            ) from error
        return ExecSession(piped, options)

    async def attach(self, uid: str, container: str, options: StreamOptions) -> Session:
        _, found = self._running(uid, container)
        if found.piped is None or found.ended is None:
            raise NotRunningError(f'container not found ("{container}")')
        once = bool(found.spec.get("stdinOnce"))
        return AttachSession(found.piped, found.ended, options, stdin_once=once)

    def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        worker, found = self._find(uid, container)
        log = found.previous_log if options.previous else found.log
        if log is None and options.previous:
            raise NotRunningError(
                f'previous terminated container "{container}" in pod "{worker.name}" not found'
            )
        if log is None:
            reason = found.state.get("waiting", {}).get("reason", "ContainerCreating")
            raise NotRunningError(
                f'container "{container}" in pod "{worker.name}" is waiting to start: {reason}'
            )
        return log.read(options)

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        worker = self._worker(uid)
        if worker.netns is None and not worker.on_host_network:
            raise NotRunningError(f'pod "{worker.name}" is not running')
        fd = (worker.netns or self._parts.network).fd
        return await open_connection(fd, "127.0.0.1", port)

    def check_reachable(self) -> None:
        """Raises NotRunningError while the node is cut off."""
        if not self.reachable:
            address = self._parts.facts.address
            raise NotRunningError(f"error dialing backend: dial tcp {address}:10250: i/o timeout")

    def _worker(self, uid: str) -> PodWorker:
        worker = self._workers.get(uid)
        if worker is None:
            raise NotRunningError(f"pod with uid {uid} does not run on node {self._parts.facts.name}")
        return worker

    def _find(self, uid: str, name: str) -> tuple[PodWorker, Container]:
        worker = self._worker(uid)
        found = worker.find(name)
        if found is None:
            raise NotRunningError(f"container {name} is not valid for pod {worker.name}")
        return worker, found

    def _running(self, uid: str, name: str) -> tuple[PodWorker, Container]:
        worker, found = self._find(uid, name)
        if not found.is_running:
            raise NotRunningError(f'container not found ("{name}")')
        return worker, found


class ClusterAccess:
    """``runtime.Runtime`` for pods of several nodes: each question goes to the node that has the pod."""

    def __init__(self, nodes: Sequence[PodAccess]) -> None:
        self._nodes = nodes

    async def exec(self, uid: str, container: str, command: list[str], options: StreamOptions) -> Session:
        return await self._node(uid).exec(uid, container, command, options)

    async def attach(self, uid: str, container: str, options: StreamOptions) -> Session:
        return await self._node(uid).attach(uid, container, options)

    def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        return self._node(uid).logs(uid, container, options)

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._node(uid).connect(uid, port)

    def _node(self, uid: str) -> PodAccess:
        found = next((node for node in self._nodes if node.has(uid)), self._nodes[0])
        found.check_reachable()
        return found
