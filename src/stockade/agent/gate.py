"""The gate: who starts a pod asks here whether the kernel already holds that pod's rules, and waits until it does.

In: requests on a Unix socket (mode 0600), one JSON object a line: ``{"namespace", "name", "uid", "address"}``.
Out: one line for each: ``{"programmed": true}``, never earlier than the transaction that made it true; or
``{"programmed": false, "message": …}`` when the agent stops.
Callers: ``lab.node`` (before a pod's first process, rule 50), ``agent.node`` (serves, and tells what is programmed).
The socket is a courtesy to the caller; the fence in the kernel holds whether or not anybody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stockade.model.meta import ObjectRef

LINE_LIMIT = 64 * 1024
RETRY_SECONDS = 0.02


class GateError(Exception):
    """No "yes" from the agent; the text is for the pod's event."""


class GateRequest(msgspec.Struct, frozen=True):
    """One pod with the address it was given. ``uid`` tells a pod from its predecessor of the same name."""

    namespace: str
    name: str
    uid: str
    address: str

    @property
    def pod(self) -> str:
        return f"{self.namespace}/{self.name}"


class GateAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``programmed`` is always sent; ``message`` only with a no."""

    programmed: bool
    message: str = ""


class ProgrammedPod(msgspec.Struct, frozen=True):
    """What the kernel holds for one pod."""

    uid: str
    addresses: tuple[str, ...]


class GateClient:
    """The asking side. Safe to use from many tasks at once: each wait has its own connection."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)

    async def wait(self, namespace: str, name: str, uid: str, address: str, timeout: float) -> None:  # noqa: ASYNC109 - the caller's own limit, told in the error
        """Returns once the kernel holds the rules of this pod at ``address``. Raises GateError otherwise.

        An agent that is not there (yet, or just being replaced) is tried again until ``timeout``.
        """
        request = GateRequest(namespace, name, uid, address)
        try:
            async with asyncio.timeout(timeout):
                while not await self._ask(request):  # noqa: ASYNC110 - another process; nothing to await
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise GateError(await self._why(request, timeout)) from None

    async def _why(self, request: GateRequest, waited: float) -> str:
        if await self._listens():
            return (
                f"timed out after {waited:g}s waiting for the network policy of pod {request.pod} "
                f"({request.address}) to be programmed"
            )
        return f"node agent is not running (nobody answers on {self._path})"

    async def _ask(self, request: GateRequest) -> bool:
        """False when the agent is not there or went away while we waited: ask again."""
        try:
            line = await self._exchange(request)
        except OSError:
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            answer = msgspec.json.decode(line, type=GateAnswer)
        except msgspec.DecodeError as error:
            raise GateError(f"{self._path} does not speak the gate's protocol: {error}") from error
        if not answer.programmed:
            raise GateError(answer.message or f"node agent refused pod {request.pod}")
        return True

    async def _exchange(self, request: GateRequest) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_LIMIT)
        try:
            writer.write(msgspec.json.encode(request) + b"\n")
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return False
        writer.close()
        return True


class GateServer:
    """The answering side, in the agent's event loop. ``publish`` after each transaction wakes those who wait for it."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._server: asyncio.Server | None = None
        self._programmed: Mapping[ObjectRef, ProgrammedPod] = {}
        self._waiters: dict[asyncio.Future[GateAnswer], GateRequest] = {}
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    async def start(self) -> None:
        """Raises GateError when another agent listens there. A dead agent's socket file is replaced."""
        clear_stale(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(self._path))
            self._path.chmod(0o600)  # before listen(): nobody can connect earlier
            self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_LIMIT)
        except OSError as error:
            listener.close()
            raise GateError(f"cannot listen on {self._path}: {error.strerror or error}") from error

    def publish(self, programmed: Mapping[ObjectRef, ProgrammedPod]) -> None:
        """``programmed``: every pod of this node whose rules the kernel holds now."""
        self._programmed = programmed
        for future, request in list(self._waiters.items()):
            if not future.done() and self._holds(request):
                future.set_result(GateAnswer(programmed=True))

    async def stop(self) -> None:
        """Those who still wait get a no with its reason; the socket file goes."""
        for future in list(self._waiters):
            if not future.done():
                future.set_result(GateAnswer(programmed=False, message="node agent is shutting down"))
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        await asyncio.sleep(0)
        if self._connections:
            _, pending = await asyncio.wait(self._connections, timeout=0.2)
            for task in pending:
                task.cancel()

    def _holds(self, request: GateRequest) -> bool:
        pod = self._programmed.get(ObjectRef(request.namespace, request.name))
        return pod is not None and pod.uid == request.uid and request.address in pod.addresses

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # the client is gone, or sent more than a line can hold
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pending = asyncio.ensure_future(reader.readline())
        try:
            while line := await pending:
                pending = asyncio.ensure_future(reader.readline())
                answer = await self._answer(line, pending)
                if answer is None:
                    return
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        finally:
            pending.cancel()

    async def _answer(self, line: bytes, gone: asyncio.Future[bytes]) -> GateAnswer | None:
        """None when the client hung up first. ``gone`` is the next read: an empty one means just that."""
        try:
            request = msgspec.json.decode(line, type=GateRequest)
        except msgspec.DecodeError as error:
            return GateAnswer(programmed=False, message=f"bad request: {error}")
        if self._holds(request):
            return GateAnswer(programmed=True)
        future: asyncio.Future[GateAnswer] = asyncio.get_running_loop().create_future()
        self._waiters[future] = request
        try:
            either: set[asyncio.Future[Any]] = {future, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not future.done() and gone.result():
                await future  # the next request is already here; this one comes first
            return future.result() if future.done() else None
        finally:
            del self._waiters[future]


def clear_stale(path: str | Path) -> None:
    """Remove the socket that a dead agent left. Raises GateError when somebody listens there."""
    path = Path(path)
    if not path.is_socket():
        if path.exists():
            raise GateError(f"cannot use {path} as a socket: it is something else")
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise GateError(f"cannot use {path} as the gate: {error.strerror or error}") from error
    raise GateError(f"another agent already serves {path}")
