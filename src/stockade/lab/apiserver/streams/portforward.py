"""GET and POST pods/NAME/portforward: SPDY, raw or inside a WebSocket (subprotocol SPDY/3.1+portforward.k8s.io, KEP-4006). The
older form, plain WebSocket channels, is in ``portchannels``.

For each connection that kubectl accepts it opens two streams with the same ``requestid``: ``streamtype`` error, then data;
``port`` says where to. Whatever goes wrong is told on the error stream, in words that kubectl prints.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from stockade.lab.apiserver.registry import Registry
from stockade.lab.apiserver.streams import portchannels
from stockade.lab.apiserver.streams.links import Link, Upgraded, WebSocketLink, upgrade
from stockade.lab.apiserver.streams.mux import SpdyConnection, SpdyStream
from stockade.lab.apiserver.streams.pods import Target, find_pod
from stockade.lab.apiserver.streams.status import bad_request, internal_error
from stockade.lab.apiserver.streams.websocket import is_websocket, offered_protocols
from stockade.lab.node.runtime import NotRunningError, Runtime

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"
_READ = 1 << 15


class PortForward:
    """The handler; ``add_stream_routes`` registers it."""

    def __init__(self, registry: Registry, runtime: Runtime) -> None:
        self._registry = registry
        self._runtime = runtime

    async def handle(self, request: web.Request) -> web.StreamResponse:
        target = find_pod(request, self._registry)
        phase = target.pod.get("status", {}).get("phase")
        if phase != "Running":
            raise internal_error(f"unable to forward port because pod is not running. Current status={phase}")
        if is_websocket(request):
            offered = offered_protocols(request)
            if not offered or (portchannels.PROTOCOL in offered and TUNNEL not in offered):
                return await portchannels.forward_channels(request, target, self._runtime)
            if TUNNEL not in offered:
                accepted = f"[{TUNNEL} {portchannels.PROTOCOL}]"
                raise bad_request(f"unable to negotiate websocket protocol: server accepts {accepted}")
            socket = web.WebSocketResponse(protocols=(TUNNEL,), compress=False, max_msg_size=0)
            await socket.prepare(request)
            await _Forwarder(target, self._runtime).run(WebSocketLink(socket))
            return socket
        if request.headers.get("Upgrade", "").lower() != "spdy/3.1":
            raise bad_request("Upgrade request required")
        link = upgrade(request, {"X-Stream-Protocol-Version": PROTOCOL})
        await _Forwarder(target, self._runtime).run(link)
        return Upgraded(status=101)


class _Forwarder:
    """All forwarded connections of one client."""

    def __init__(self, target: Target, runtime: Runtime) -> None:
        self._target = target
        self._runtime = runtime
        self._errors: dict[str, SpdyStream] = {}

    async def run(self, link: Link) -> None:
        """Until the client is gone."""
        connection = SpdyConnection(link)
        serving = asyncio.create_task(connection.serve())
        tasks: set[asyncio.Task[None]] = set()
        try:
            while stream := await connection.accept():
                request_id = stream.headers.get("requestid", "")
                if stream.headers.get("streamtype", "").lower() == "error":
                    self._errors[request_id] = stream
                elif error := self._errors.pop(request_id, None):
                    task = asyncio.create_task(self._forward(connection, stream, error))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    await stream.reset()
            await asyncio.wait({serving})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close(serving)

    async def _forward(self, connection: SpdyConnection, data: SpdyStream, error: SpdyStream) -> None:
        """One TCP connection into the pod."""
        with contextlib.suppress(ConnectionError):
            try:
                port = _port(data)
                reader, writer = await self._runtime.connect(self._target.uid, port)
            except (NotRunningError, OSError, ValueError) as problem:
                text = self._target.forward_error(data.headers.get("port", ""), problem)
                await error.write(text.encode())
            else:
                await error.close()
                await _copy_both(data, reader, writer)
            await error.close()
            await data.close()
        connection.forget(data)
        connection.forget(error)


def _port(stream: SpdyStream) -> int:
    text = stream.headers.get("port", "")
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ValueError(f'unable to parse port "{text}"')
    return int(text)


async def _copy_both(stream: SpdyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the pod has closed its side; the client's end of sending is passed on as a half-close."""
    upward = asyncio.create_task(_to_pod(stream, writer))
    try:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_READ):
                await stream.write(chunk)
        await stream.close()
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)
        writer.close()


async def _to_pod(stream: SpdyStream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await stream.read():
            writer.write(chunk)
            await writer.drain()
        if stream.abandoned:
            writer.transport.abort()
        elif writer.can_write_eof():
            writer.write_eof()
