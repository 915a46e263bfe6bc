"""Two Kubernetes APIs without a cluster, for tests of clients: one that follows a script, one that keeps objects.

Both speak real HTTP on loopback (``serving``), so that what is tested is the client as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from stockade.kube.client import ApiClient
from stockade.kube.config import Access

JsonObject = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FOR_EVER = 3600


class Watch:
    """Sends ``events``, then closes; or, ``then``, hangs, or cuts the connection without an orderly end."""

    def __init__(self, *events: JsonObject, then: str = "close") -> None:
        self.events, self.then = events, then


class Answer:
    """One complete response."""

    def __init__(self, body: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.body, self.status, self.headers = body, status, headers or {}


def status(code: int, reason: str = "", message: str = "", headers: dict[str, str] | None = None) -> Answer:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return Answer(body, code, headers)


def obj(name: str, version: int, *, namespace: str = "default", **fields: Any) -> JsonObject:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}, **fields}


def event(kind: str, name: str, version: int, **fields: Any) -> JsonObject:
    return {"type": kind, "object": obj(name, version, **fields)}


def bookmark(version: int, *, end: bool = False) -> JsonObject:
    note = {"annotations": {"k8s.io/initial-events-end": "true"}} if end else {}
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version), **note}}}


def error(code: int, reason: str = "", message: str = "") -> JsonObject:
    return {"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": reason, "message": message}}


def listing(version: int, *objects: JsonObject, more: str = "") -> Answer:
    return Answer({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(objects)})


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[ApiClient]:
    """An open client of a server on a free port, both gone afterwards."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with ApiClient(Access(server=f"http://127.0.0.1:{port}", origin="the test")) as client:
            yield client
    finally:
        await runner.cleanup()


class ScriptedApi:
    """Each request to a path takes the next step of its script; when there is none, nothing more happens."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self._arrived = asyncio.Event()
        self._steps: defaultdict[str, deque[Watch | Answer]] = defaultdict(deque)

    def script(self, path: str, *steps: Watch | Answer) -> None:
        self._steps[path].extend(steps)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            (request.method, request.path, dict(request.query), json.loads(body) if body else None)
        )
        self._arrived.set()
        steps = self._steps[request.path]
        if not steps:
            await asyncio.sleep(FOR_EVER)
        step = steps.popleft()
        if isinstance(step, Answer):
            return web.json_response(step.body, status=step.status, headers=step.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for each in step.events:
            await response.write(json.dumps(each).encode() + b"\n")
        if step.then == "hang":
            await asyncio.sleep(FOR_EVER)
        if step.then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    async def until(self, count: int) -> None:
        """So many requests have come in."""
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                self._arrived.clear()
                await self._arrived.wait()


class ObjectsApi:
    """Keeps objects by path: streaming list, watch, POST, merge PATCH of top-level fields. Enough for the agent.

    ``down``: answers 503 to everything. ``changed`` is set after each write by a client.
    """

    def __init__(self) -> None:
        self.objects: defaultdict[str, dict[str, JsonObject]] = defaultdict(dict)
        self.changed = asyncio.Event()
        self.down = False
        self._version = self._oldest = 100
        self._history: list[tuple[int, str, JsonObject]] = []
        self._watchers: defaultdict[str, set[asyncio.Queue[JsonObject | None]]] = defaultdict(set)

    def put(self, path: str, item: JsonObject) -> None:
        """Create or change; watchers learn of it."""
        known = _key(item) in self.objects[path]
        self._tell(path, "MODIFIED" if known else "ADDED", item)
        self.objects[path][_key(item)] = item

    def drop(self, path: str, name: str, namespace: str = "") -> None:
        self._tell(path, "DELETED", self.objects[path].pop(f"{namespace}/{name}"))

    def hang_up(self) -> None:
        """End every watch."""
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    def forget_history(self) -> None:
        """End every watch; who asks to go on from before now is told 410 Gone."""
        self._oldest = self._version
        self.hang_up()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return web.json_response({"code": 503, "message": "the server is down"}, status=503)
        if request.method == "POST":
            item = json.loads(await request.read())
            self.put(_collection(request.path), item)
            self.changed.set()
            return web.json_response(item, status=201)
        if request.method == "PATCH":
            return await self._patch(request)
        if "watch" in request.query:
            return await self._watch(request)
        items = list(self.objects[request.path].values())
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        path, _, name = request.path.rpartition("/")
        namespace = path.split("/")[-2]
        item = self.objects[_collection(path)].get(f"{namespace}/{name}")
        if item is None:
            return web.json_response({"code": 404, "reason": "NotFound", "message": "not found"}, status=404)
        self.put(_collection(path), {**item, **json.loads(await request.read())})
        self.changed.set()
        return web.json_response(item)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        queue: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        if "sendInitialEvents" in request.query:
            for item in self.objects[request.path].values():
                queue.put_nowait({"type": "ADDED", "object": item})
            queue.put_nowait(bookmark(self._version, end=True))
        else:
            since = int(request.query.get("resourceVersion", 0))
            if since < self._oldest:
                queue.put_nowait(error(410, "Expired", "too old resource version"))
            for version, path, change in self._history:
                if path == request.path and version > since >= self._oldest:
                    queue.put_nowait(change)
        watchers = self._watchers[request.path]
        watchers.add(queue)  # no await since the history was read: nothing is missed or told twice
        try:
            with contextlib.suppress(ConnectionResetError):  # the client is gone
                await response.prepare(request)
                while (each := await queue.get()) is not None:
                    await response.write(json.dumps(each).encode() + b"\n")
        finally:
            watchers.discard(queue)
        return response

    def _tell(self, path: str, kind: str, item: JsonObject) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        change = {"type": kind, "object": json.loads(json.dumps(item))}
        self._history.append((self._version, path, change))
        for queue in self._watchers[path]:
            queue.put_nowait(change)


def _key(item: JsonObject) -> str:
    meta = item["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}"


def _collection(path: str) -> str:
    """Where objects of all namespaces are listed."""
    parts = path.split("/")
    if "namespaces" in parts[:-2]:
        at = parts.index("namespaces")
        del parts[at : at + 2]
    return "/".join(parts)
