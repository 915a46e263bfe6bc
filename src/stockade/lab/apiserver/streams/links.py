"""A connection turned into a plain byte stream: after a raw ``Upgrade``, or inside the binary messages of a WebSocket.

In: an aiohttp request. Out: a ``Link``. Called by the exec, attach and port-forward handlers; ``mux`` speaks SPDY over it.
aiohttp itself upgrades to WebSocket only, so for SPDY we write the 101 and take the transport over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

_READ = 1 << 16
_MESSAGE = 1 << 15


class Link(Protocol):
    async def read(self) -> bytes:
        """Some bytes; b"" when the peer is gone."""

    async def write(self, data: bytes) -> None:
        """Waits while the peer does not read. Raises ConnectionError when it is gone."""

    async def close(self) -> None: ...


class RawLink:
    """The TCP (or TLS) connection of the request itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_READ)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


class WebSocketLink:
    """A byte stream cut into binary messages at any place."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type in {WSMsgType.BINARY, WSMsgType.TEXT}:
                content = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
                if content:
                    return content
            elif message.type not in {WSMsgType.PING, WSMsgType.PONG}:
                return b""

    async def write(self, data: bytes) -> None:
        for at in range(0, len(data), _MESSAGE):
            await self._socket.send_bytes(data[at : at + _MESSAGE])

    async def close(self) -> None:
        await self._socket.close()


class _Takeover(asyncio.StreamReaderProtocol):
    """Feeds the stream reader; tells aiohttp of the connection's end, so that it forgets the connection too."""

    def __init__(self, reader: asyncio.StreamReader, former: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._former = former

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._former.connection_lost(exc)


class Upgraded(web.Response):
    """What the handler returns when the session is over: the response has long been sent."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - aiohttp's signature
        self.force_close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def upgrade(request: web.Request, headers: Mapping[str, str]) -> RawLink:
    """Answer 101 and take the connection. The handler must go on until the session ends: aiohttp closes it then."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client went away before the upgrade")
    head = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", **headers}
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in head.items())]
    reader = asyncio.StreamReader(limit=_READ)
    protocol = _Takeover(reader, request.protocol)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if isinstance(transport, asyncio.ReadTransport):
        transport.resume_reading()
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return RawLink(reader, writer)
