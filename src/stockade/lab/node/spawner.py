"""The daemon's side of the zygote: start a process, learn its pid, wait for its exit, send it a signal.

Comes in: the socket that ``zygote.run`` hands to the daemon. Goes out: ``Process`` objects. Called by the kubelet part and by whoever
starts the node agent. Runs on the daemon's event loop; no thread per process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from stockade.lab.node import wire

_Born = tuple[int, asyncio.Future[int]]


class StartError(Exception):
    """The process could not start; ``str()`` is the reason in the words of a container runtime."""

    def __init__(self, text: str, *, not_found: bool = False) -> None:
        super().__init__(text)
        self.not_found = not_found


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to execute and as whom. ``capabilities`` is a mask (see ``privileges.mask``). ``program``: see ``images.image``."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    capabilities: int = 0
    tty: bool = False
    program: str = ""


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors for the new process (None: /dev/null); the caller closes its copies after the call. Unused with a tty. ``feed``: what
    a program of the lab is told by the daemon."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    feed: int | None = None


class Killer(Protocol):
    def kill(self, pid: int, number: int, *, group: bool = False) -> None: ...


class Process:
    """A started process. ``terminal`` is the master of its tty (the owner closes it)."""

    def __init__(self, pid: int, ended: asyncio.Future[int], terminal: int | None, spawner: Killer) -> None:
        self.pid = pid
        self.terminal = terminal
        self._ended = ended
        self._spawner = spawner

    def by(self, killer: Killer) -> Process:
        """The same, with another way for signals."""
        return Process(self.pid, self._ended, self.terminal, killer)

    def on_end(self, call: Callable[[], object]) -> None:
        self._ended.add_done_callback(lambda _: call())

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: killed by that signal."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def kill(self, number: int) -> None:
        if not self._ended.done():
            self._spawner.kill(self.pid, number)

    def kill_group(self, number: int) -> None:
        """Also what it started and left in its process group (every process starts as leader of its own)."""
        if not self._ended.done():
            self._spawner.kill(self.pid, number, group=True)


class Spawner:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._last_id = 0
        self._pending: dict[int, asyncio.Future[_Born]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._cgroups: dict[int, list[str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Call once, inside the running event loop."""
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel.fileno(), self._on_messages)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._channel.fileno())
        self._channel.close()

    async def spawn_plain(self, command: Command, streams: Streams, *, netns: int) -> Process:
        """In a node's network, else in the lab's own namespaces with the daemon's rights: for the node agent, never for a user's command."""
        return await self._spawn("plain", command, streams, {}, netns)

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
        """The first process of a container; ``netns`` is its pod's network, or the node's; ``cgroups``: the files to enter them by. ``beside``:
        it sees, and is seen by, the processes of the container or pod whose first process that is."""
        extra: dict[str, Any] = {"root": root, "hostname": hostname, "cgroups": list(cgroups)}
        if beside is not None:
            extra["init"] = beside
        process = await self._spawn("container", command, streams, extra, netns)
        self._cgroups[process.pid] = list(cgroups)
        return process

    async def spawn_pause(self, *, mountpoint: str, netns: int) -> Process:
        """A process that does nothing but be the first of a pod whose containers share their processes."""
        empty: wire.Root = {
            "mountpoint": mountpoint,
            "lower": [],
            "binds": [],
            "files": {},
            "mounts": [],
            "read_only": True,
        }
        nothing = Command(argv=["pause"], env={})
        return await self._spawn("pause", nothing, Streams(), {"root": empty, "hostname": ""}, netns)

    async def spawn_exec(self, command: Command, streams: Streams, *, init: int) -> Process:
        """One more process in the container whose first process is ``init``."""
        extra = {"init": init, "cgroups": self._cgroups.get(init, [])}
        return await self._spawn("exec", command, streams, extra)

    def kill(self, pid: int, number: int, *, group: bool = False) -> None:
        message: wire.KillRequest = {"kill": pid, "signal": int(number), "group": group}
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._channel.send(json.dumps(message).encode())

    async def _spawn(
        self, kind: str, command: Command, streams: Streams, extra: dict[str, Any], netns: int | None = None
    ) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                fds = {
                    wire.STATUS: theirs.fileno(),
                    wire.STDIN: streams.stdin,
                    wire.STDOUT: streams.stdout,
                    wire.STDERR: streams.stderr,
                    wire.NETNS: netns,
                    wire.FEED: streams.feed,
                }
                passed = {name: fd for name, fd in fds.items() if fd is not None}
                answer = await self._request(kind, command, extra, passed)
            pid, ended = await answer
            try:
                terminal = await _started(ours)
            except asyncio.CancelledError:
                self.kill(pid, signal.SIGKILL)
                raise
        return Process(pid, ended, terminal, self)

    async def _request(
        self, kind: str, command: Command, extra: dict[str, Any], fds: dict[str, int]
    ) -> asyncio.Future[_Born]:
        self._last_id += 1
        number = self._last_id
        body = {"id": number, "kind": kind, "fds": list(fds), **msgspec.to_builtins(command), **extra}
        data = json.dumps(body).encode()
        if len(data) > wire.MAX_MESSAGE:
            raise StartError(f'exec: "{command.argv[0]}": argument list too long')
        answer = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        while True:
            try:
                socket.send_fds(self._channel, [data], list(fds.values()))
            except BlockingIOError:
                await asyncio.sleep(0.001)  # pid 1 is busy forking: its queue is full
            except OSError as error:
                del self._pending[number]
                raise StartError(f"the lab's process starter is gone: {error}") from error
            else:
                return answer

    def _on_messages(self) -> None:
        while True:
            try:
                data = self._channel.recv(wire.MAX_MESSAGE)
            except BlockingIOError:
                return
            if not data:  # pid 1 is gone, and so are we in a moment
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                return
            self._on_message(json.loads(data))

    def _on_message(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            ended = self._exits.pop(message["exit"], None)
            self._cgroups.pop(message["exit"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["status"])
            return
        answer = self._pending.pop(message["id"])
        if "error" in message:
            if not answer.done():
                answer.set_exception(StartError(message["error"]))
            return
        pid = message["pid"]
        self._exits[pid] = ended = asyncio.get_running_loop().create_future()
        if not answer.done():
            answer.set_result((pid, ended))
        else:  # whoever asked was cancelled: nobody would ever end it
            self.kill(pid, signal.SIGKILL)


async def _started(status: socket.socket) -> int | None:
    """Reads the child's status socket until it runs (end of file); returns the terminal's master, raises StartError."""
    status.setblocking(False)
    terminal: int | None = None
    try:
        while True:
            await _readable(status)
            data, fds, _, _ = socket.recv_fds(status, 65536, 1, socket.MSG_CMSG_CLOEXEC)
            if not data:
                result, terminal = terminal, None
                return result
            message = json.loads(data)
            if "error" in message:
                raise StartError(message["error"], not_found=message["not_found"])
            terminal = fds[0]
    finally:
        if terminal is not None:
            os.close(terminal)


async def _readable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(channel.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(channel.fileno())
