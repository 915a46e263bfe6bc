"""GET and POST pods/NAME/exec and pods/NAME/attach.

The transport is what the client asks for: WebSocket (kubectl from 1.30 on, Python clients) or SPDY (older; fallback).
Refusals come as a Status before the upgrade where possible, else on the error channel. exec ends with the exit code;
attach always ends with Success, since clients read the exit code from the pod's status.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.apiserver.streams import remotespdy, websocket
from stockade.lab.apiserver.streams.channels import Client, run_session
from stockade.lab.apiserver.streams.links import Upgraded, upgrade
from stockade.lab.apiserver.streams.pods import Target, find_container, flag
from stockade.lab.apiserver.streams.status import SUCCESS, bad_request, exit_status, failure
from stockade.lab.node.runtime import NotRunningError, Runtime, Session, StreamOptions

_MESSAGE_LIMIT = 1 << 24


class _Command(msgspec.Struct, frozen=True):
    """One accepted request: how to start it, with which channels, and what to say at its end."""

    start: Callable[[], Awaitable[Session]]
    options: StreamOptions
    final: Callable[[int], JsonObject]


class RemoteCommand:
    """The handlers; ``add_stream_routes`` registers them."""

    def __init__(self, registry: Registry, runtime: Runtime) -> None:
        self._registry = registry
        self._runtime = runtime

    async def exec(self, request: web.Request) -> web.StreamResponse:
        target, options = self._accept(request)
        argv = request.query.getall("command", [])
        if not argv:
            raise bad_request("you must specify at least one command for the container")

        def start() -> Awaitable[Session]:
            return self._runtime.exec(target.uid, target.container, argv, options)

        return await _serve(request, _Command(start, options, exit_status))

    async def attach(self, request: web.Request) -> web.StreamResponse:
        target, options = self._accept(request)

        def start() -> Awaitable[Session]:
            return self._runtime.attach(target.uid, target.container, options)

        return await _serve(request, _Command(start, options, lambda _: SUCCESS))

    def _accept(self, request: web.Request) -> tuple[Target, StreamOptions]:
        target = find_container(request, self._registry)
        tty = flag(request, "tty")
        options = StreamOptions(
            stdin=flag(request, "stdin"),
            stdout=flag(request, "stdout"),
            stderr=flag(request, "stderr") and not tty,
            tty=tty,
        )
        if not (options.stdin or options.stdout or options.stderr):
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        target.require_running()
        return target, options


async def _serve(request: web.Request, command: _Command) -> web.StreamResponse:
    if websocket.is_websocket(request):
        return await _over_websocket(request, command)
    if request.headers.get("Upgrade", "").lower() == "spdy/3.1":
        return await _over_spdy(request, command)
    raise bad_request("Upgrade request required")


async def _over_websocket(request: web.Request, command: _Command) -> web.StreamResponse:
    offered = websocket.offered_protocols(request)
    if offered and not set(offered) & set(websocket.PROTOCOLS):
        raise bad_request(
            f"unable to negotiate websocket protocol: client supports {offered}, server accepts {list(websocket.PROTOCOLS)}"
        )
    # compress=False: the Go client does not negotiate it, and output comes in small pieces
    socket = web.WebSocketResponse(protocols=websocket.PROTOCOLS, compress=False, max_msg_size=_MESSAGE_LIMIT)
    await socket.prepare(request)
    await _run(websocket.WebSocketClient(socket), command)
    return socket


async def _over_spdy(request: web.Request, command: _Command) -> web.StreamResponse:
    offered = request.headers.getall("X-Stream-Protocol-Version", [])
    names = [item.strip() for value in offered for item in value.split(",")]
    protocol = next((name for name in remotespdy.PROTOCOLS if name in names), "")
    if not protocol:
        accepted = {"X-Accepted-Stream-Protocol-Versions": ",".join(remotespdy.PROTOCOLS)}
        text = f"unable to upgrade: unable to negotiate protocol: client supports {names}, server accepts {list(remotespdy.PROTOCOLS)}"
        return web.json_response(failure(403, "Forbidden", text), status=403, headers=accepted)
    link = upgrade(request, {"X-Stream-Protocol-Version": protocol})
    client = remotespdy.SpdyClient(link, protocol)
    try:
        if await client.open(remotespdy.expected_streams(command.options, protocol)):
            await _run(client, command)
    finally:
        await client.close()
    return Upgraded(status=101)


async def _run(client: Client, command: _Command) -> None:
    try:
        session = await command.start()
    except NotRunningError as error:
        await _finish(client, failure(500, "InternalError", str(error)))
        return
    await run_session(client, session, command.final)


async def _finish(client: Client, status: JsonObject) -> None:
    with contextlib.suppress(ConnectionError):
        await client.finish(status)
