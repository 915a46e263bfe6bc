"""Connections of the API server: bounded in number, headers, and in the time that a slow or vanished client may take.

    no first request within HEADER_SECONDS of the handshake     closed
    a body that does not arrive within BODY_SECONDS             408, closed (``read_in_time``)
    what is sent is not read for STALLED_SECONDS                the kernel ends the connection (TCP_USER_TIMEOUT)
    a peer that is no more                                      keepalive probes, likewise
    a TLS handshake that is not done within HEADER_SECONDS      closed
    more than MOST connections                                  the oldest that nobody has proved to be his is closed, else the newest
    more than 128 headers, a line of more than 16 KiB           400 (aiohttp)
    a body that is compressed                                   415: it would be unpacked before anybody could weigh it
    what is no HTTP                                             400, and not a word in the log: strangers must not be able to fill it

In: the application. Out: a runner for it. Called by ``lab.cluster``. Without these bounds anybody on the machine could keep tasks and descriptors of the
lab busy for ever, without a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

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
        if not self._has_room():
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.header, self._end_silence)

    def _has_room(self) -> bool:
        """Strangers that sit there make room for newcomers."""
        open_ones = self._manager.connections if self._manager else []
        if len(open_ones) <= self._bounds.most:
            return True
        for each in open_ones:
            if each is not self and isinstance(each, _Connection) and not each.served:
                each.force_close()
                return True
        return False

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
            logger=_LOG,
            auto_decompress=False,
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


class Site(web.SockSite):
    """A listening socket whose clients must come through the TLS handshake in time."""

    def __init__(
        self, runner: web.AppRunner, sock: socket.socket, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(runner, sock, ssl_context=ssl_context, backlog=MOST)

    async def start(self) -> None:
        await web.BaseSite.start(self)
        assert self._runner.server is not None
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HEADER_SECONDS if self._ssl_context else None,
            ssl_shutdown_timeout=LINGER_SECONDS if self._ssl_context else None,
        )


def _is_ours(record: logging.LogRecord) -> bool:
    """What a client did wrong, or a connection that ended, is no news; and a request that cannot be read may hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | OSError | asyncio.CancelledError)


_LOG = logging.getLogger(f"{__name__}.http")
_LOG.addFilter(_is_ours)


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
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        connection.keep_alive(False)
        raise failures.failure(415, "UnsupportedMediaType", "the body of the request must not be compressed")
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
