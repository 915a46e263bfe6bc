"""exec, attach, port-forward and log: the API's streaming endpoints, between aiohttp and the node's ``Runtime``.

        request ─► pods (which container) ─► remotecommand ─► channels ◄─► Session
                                          │        websocket | remotespdy ─ mux ─ spdy
                                          ├► portforward ─ mux ─ spdy      ◄─► Runtime.connect
                                          └► log                           ◄── Runtime.logs

Called by the API server with ``add_stream_routes``; authentication is its middleware's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from stockade.lab.apiserver.registry import ApiError, Registry
from stockade.lab.apiserver.streams.log import Log
from stockade.lab.apiserver.streams.portforward import PortForward
from stockade.lab.apiserver.streams.remotecommand import RemoteCommand
from stockade.lab.apiserver.streams.status import KubeletError
from stockade.lab.node.runtime import Runtime

__all__ = ["add_stream_routes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_stream_routes(app: web.Application, registry: Registry, runtime: Runtime) -> None:
    """Register the pod subresources; WebSocket clients send GET, SPDY clients POST. Sessions end with the application."""
    commands = RemoteCommand(registry, runtime)
    forward, log = PortForward(registry, runtime), Log(registry, runtime)
    running = _Running()
    pod = "/api/v1/namespaces/{namespace}/pods/{name}"
    for path, handler in (
        ("exec", commands.exec),
        ("attach", commands.attach),
        ("portforward", forward.handle),
    ):
        app.router.add_route("GET", f"{pod}/{path}", running.handler(handler))
        app.router.add_route("POST", f"{pod}/{path}", running.handler(handler))
    app.router.add_route("GET", f"{pod}/log", running.handler(log.handle))
    app.on_shutdown.append(running.end)


class _Running:
    """The requests under way: refusals become answers, and the application's shutdown ends what goes on for ever."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def handler(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                return await handler(request)
            except ApiError as error:
                return web.json_response(error.status, status=error.code)
            except KubeletError as error:
                return web.Response(status=500, text=str(error))
            finally:
                self._tasks.discard(task)

        return handle

    async def end(self, _: web.Application) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
