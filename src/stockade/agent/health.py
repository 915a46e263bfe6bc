"""/healthz, /readyz, /metrics and /status over HTTP, on a loopback address or a Unix socket; only when asked for.

In: the agent's own account of itself. Out: 200 or 503 with one line that says why, Prometheus' text format, and AgentStatus as JSON.
Called by the CLI's ``agent`` command; probes of the DaemonSet read it, and ``stockade status`` (``ask``). Rule source: the kubelet's HTTP probes (2xx and 3xx are success).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from stockade.agent.gate import GateError, clear_stale
from stockade.agent.metrics import Health
from stockade.agent.status import AgentStatus

DEFAULT_HOST = "127.0.0.1"


class ListenError(Exception):
    """The address cannot be listened on; the text is for the operator."""


@contextlib.asynccontextmanager
async def serve(
    where: str,
    health: Callable[[], Health],
    metrics: Callable[[], Awaitable[bytes]],
    status: Callable[[], AgentStatus],
) -> AsyncIterator[None]:
    """``where``: ``[HOST:]PORT`` or the path of a Unix socket. Raises ListenError."""

    async def healthz(_: web.Request) -> web.Response:
        return _probe(health().live_problem)

    async def readyz(_: web.Request) -> web.Response:
        return _probe(health().ready_problem)

    async def text(_: web.Request) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=await metrics(), headers={"Content-Type": content_type})

    async def json(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(status()), content_type="application/json")

    app = web.Application()
    routes = {"/healthz": healthz, "/readyz": readyz, "/metrics": text, "/status": json}
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await _site(runner, where).start()
        if "/" in where:
            Path(where).chmod(0o600)  # noqa: ASYNC240 - one inode
    except OSError as error:
        await runner.cleanup()
        raise ListenError(f"cannot serve health on {where}: {os.strerror(error.errno or 0)}") from error
    try:
        yield
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, where: str) -> web.BaseSite:
    if "/" in where:
        try:
            clear_stale(where)
        except GateError as error:
            raise ListenError(str(error)) from error
        return web.UnixSite(runner, where)
    host, _, port = where.rpartition(":")
    if not port.isdigit():
        raise ListenError(f"{where!r} is neither [HOST:]PORT nor the path of a socket")
    return web.TCPSite(runner, host.strip("[]") or DEFAULT_HOST, int(port))


def _probe(problem: str) -> web.Response:
    return web.Response(text=(problem or "ok") + "\n", status=503 if problem else 200)


async def ask(path: str, seconds: float) -> AgentStatus | None:
    """What the agent behind a Unix socket says of itself; None when it does not answer in time or at all."""
    limit = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path), timeout=limit) as session,
            session.get("http://agent/status") as answer,
        ):
            return msgspec.json.decode(await answer.read(), type=AgentStatus)
    except (OSError, TimeoutError, aiohttp.ClientError, msgspec.MsgspecError):
        return None
