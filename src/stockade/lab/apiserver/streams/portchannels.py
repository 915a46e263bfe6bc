"""port-forward over WebSocket channels (subprotocol v4.channel.k8s.io, or none): what the Python clients speak.

The query names the ports: ``ports=80,443``. Port number i has two channels, 2i for data and 2i+1 for errors; the first message on each is
the port in two bytes, little-endian. Each message is one byte of channel number and the data. One connection per port; the
WebSocket ends with the last of them. Whatever goes wrong is told on the error channel, in the kubelet's words.
In: the request and the pod. Called by ``portforward``, which speaks the other form.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator, Sequence

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from stockade.lab.apiserver.streams.pods import Target
from stockade.lab.apiserver.streams.status import bad_request
from stockade.lab.node.runtime import NotRunningError, Runtime

PROTOCOL = "v4.channel.k8s.io"
MOST_PORTS = 100
"""Two channels each, and a channel's number is one byte."""
_READ = 1 << 15
_MESSAGE_LIMIT = 1 << 24


class _Pipe(msgspec.Struct, frozen=True):
    """The connection to one port."""

    data: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def forward_channels(request: web.Request, target: Target, runtime: Runtime) -> web.StreamResponse:
    ports = list(_ports(request.query.getall("ports", []) + request.query.getall("port", [])))
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), compress=False, max_msg_size=_MESSAGE_LIMIT)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):
        await _Channels(socket, target, runtime).run(ports)
    return socket


def _ports(given: Sequence[str]) -> Iterator[int]:
    texts = [text for each in given for text in each.split(",")]
    if not texts:
        raise bad_request('query parameter "ports" is required')
    if len(texts) > MOST_PORTS:
        raise bad_request(f"at most {MOST_PORTS} ports can be forwarded by one connection")
    for text in texts:
        if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:6]) < 1 << 16:
            raise bad_request(f'unable to parse "{text}" as a port')
        yield int(text)


class _Channels:
    def __init__(self, socket: web.WebSocketResponse, target: Target, runtime: Runtime) -> None:
        self._socket = socket
        self._target = target
        self._runtime = runtime

    async def run(self, ports: Sequence[int]) -> None:
        """Until every port's connection has ended, or the client is gone."""
        for number, port in enumerate(ports):
            for channel in (2 * number, 2 * number + 1):
                await self._send(channel, struct.pack("<H", port))
        found = [await self._connect(2 * number, port) for number, port in enumerate(ports)]
        pipes = {pipe.data: pipe for pipe in found if pipe is not None}
        downward = asyncio.create_task(self._all_to_client(list(pipes.values())))
        upward = asyncio.create_task(self._to_pod(pipes))
        try:
            await asyncio.wait({downward, upward}, return_when=asyncio.FIRST_COMPLETED)
            if downward.done():
                await self._socket.close(code=WSCloseCode.OK)
        finally:
            downward.cancel()
            upward.cancel()
            await asyncio.gather(downward, upward, return_exceptions=True)
            for pipe in pipes.values():
                pipe.writer.close()

    async def _connect(self, channel: int, port: int) -> _Pipe | None:
        try:
            reader, writer = await self._runtime.connect(self._target.uid, port)
        except (NotRunningError, OSError) as problem:
            await self._send(channel + 1, self._target.forward_error(str(port), problem).encode())
            return None
        return _Pipe(channel, reader, writer)

    async def _all_to_client(self, pipes: Sequence[_Pipe]) -> None:
        await asyncio.gather(*map(self._to_client, pipes))

    async def _to_client(self, pipe: _Pipe) -> None:
        with contextlib.suppress(OSError):
            while chunk := await pipe.reader.read(_READ):
                await self._send(pipe.data, chunk)

    async def _to_pod(self, pipes: dict[int, _Pipe]) -> None:
        """Messages on unknown channels, and on the error channels, are dropped."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or len(message.data) < 2:
                continue
            if pipe := pipes.get(message.data[0]):
                with contextlib.suppress(OSError):
                    pipe.writer.write(bytes(message.data[1:]))
                    await pipe.writer.drain()

    async def _send(self, channel: int, data: bytes) -> None:
        await self._socket.send_bytes(bytes([channel]) + data)
