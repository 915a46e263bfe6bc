"""DNS over UDP and TCP on sockets in a network namespace, served by the daemon itself: the resolver of the simulated Internet.

In: the namespace, a function from query to answer. Out: answers on port 53 of one address. Called by ``lab.internet``; the cluster's own DNS
runs in its pods (``replica``). Message rules: ``lab.dns.wire``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from stockade.lab.node import netns

PORT = 53
_BACKLOG = 128
_IDLE_SECONDS = 10.0

_log = logging.getLogger(__name__)
Respond = Callable[[bytes, bool], bytes | None]
"""(query, whether it came over TCP) → response."""


class Network(Protocol):
    """What a server needs of its network: the descriptor of its namespace."""

    @property
    def fd(self) -> int: ...


class Listener:
    """One address, port 53, UDP and TCP; ``::`` is every address of both families."""

    def __init__(self, network: Network, respond: Respond, address: str = "::") -> None:
        self._network = network
        self._respond = respond
        self._address = address
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Answering when this returns. OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        datagrams = self._bound(socket.SOCK_DGRAM)
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._respond), sock=datagrams
        )
        try:
            stream = self._bound(socket.SOCK_STREAM)
            self._server = await asyncio.start_server(self._converse, sock=stream, backlog=_BACKLOG)
        except BaseException:
            self._transport.close()
            raise

    async def stop(self) -> None:
        """Idempotent."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for writer in self._conversations:
            writer.close()

    def _bound(self, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        opened = netns.open_socket(self._network.fd, family, kind)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            opened.setblocking(False)
            opened.bind((self._address, PORT))
        except OSError:
            opened.close()
            raise
        return opened

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Queries of one TCP connection, each with its length before it (RFC 1035 4.2.2)."""
        self._conversations.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                while (response := self._respond(await _next_query(reader), True)) is not None:
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        finally:
            self._conversations.discard(writer)
            writer.close()


async def _next_query(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(_IDLE_SECONDS):
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # not a subclass before Python 3.12

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        response = self._respond(data, False)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)

    def error_received(self, exc: Exception) -> None:
        _log.debug("a DNS answer could not be sent: %s", exc)
