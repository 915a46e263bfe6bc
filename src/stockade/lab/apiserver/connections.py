"""Connections of the API server: bounded in number, headers, and in the time that a slow or vanished client may take.

    no first request within HEADER_SECONDS of the handshake     closed
    a body that does not arrive within BODY_SECONDS             408, closed (``read_in_time``)
    what is sent is not read for STALLED_SECONDS                the kernel ends the connection (TCP_USER_TIMEOUT)
    a peer that is no more                                      keepalive probes, likewise
    more than MOST connections                                  the newest is closed
    more than 128 headers, a line of more than 16 KiB           400 (aiohttp)

In: the application. Out: a runner for it. Called by ``lab.cluster``. Without these bounds anybody on the machine could keep tasks and descriptors of the
lab busy for ever, without a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from stockade.lab.apiserver import failures

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
STALLED_SECONDS = 60.0
IDLE_SECONDS = 120.0  # between requests; client-go keeps a connection for 90
LINGER_SECONDS = 2.0  # for the rest of a body that nobody wants any more
MOST = 1024
LINE = 16 * 1024  # selectors in a query may be long
READ_AT_ONCE = 32 * 1024
# asyncio gives each TLS connection a buffer of 256 KiB for as long as it lives: 100 watchers would cost more than 100 pods do.
sslproto.SSLProtocol.max_size = READ_AT_ONCE
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bounds:
    """The times, so that tests can wait for less."""

    def __init__(
        self,
        header: float = HEADER_SECONDS,
        body: float = BODY_SECONDS,
        stalled: float = STALLED_SECONDS,
        most: int = MOST,
    ) -> None:
        self.header, self.body, self.stalled, self.most = header, body, stalled, most


BOUNDS = web.AppKey("bounds", Bounds)


class _Connection(web.RequestHandler):
    """One connection; the middleware says when its first request has come."""

    __slots__ = ("_bounds", "_timer", "served")

    def __init__(self, bounds: Bounds, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._bounds = bounds
        self._timer: asyncio.TimerHandle | None = None
        self.served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        bound_silence(transport, self._bounds.stalled)
        if len(self._manager.connections if self._manager else ()) > self._bounds.most:
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.header, self._end_silence)

    def _end_silence(self) -> None:
        if not self.served:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)


class _Server(web.Server):
    """Makes our connections instead of plain ones."""

    def __init__(self, bounds: Bounds, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._bounds = bounds

    def __call__(self) -> _Connection:
        return _Connection(self._bounds, self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are bounded."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float = 0.2, **options: Any) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LINE,
            max_field_size=LINE,
            **options,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self.app[BOUNDS],
            made.request_handler,
            request_factory=made.request_factory,
            loop=asyncio.get_running_loop(),
            **made._kwargs,  # noqa: SLF001 - the server that is replaced knows them
        )


def bound_silence(transport: asyncio.BaseTransport, seconds: float) -> None:
    """The kernel ends the connection when the peer takes nothing, or answers no probe, for so long."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    with contextlib.suppress(OSError):  # not TCP
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 6)))


@web.middleware
async def read_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Behind the gate: nobody's body is read before it is known whose it is. Handlers find it read."""
    connection = request.protocol
    if isinstance(connection, _Connection):
        connection.served = True
    if request.can_read_body and "Upgrade" not in request.headers:
        try:
            async with asyncio.timeout(request.app[BOUNDS].body):
                await request.read()
        except TimeoutError:
            connection.keep_alive(False)
            raise failures.failure(
                408, "Timeout", "Timeout: the body of the request did not arrive in time"
            ) from None
    return await handler(request)
