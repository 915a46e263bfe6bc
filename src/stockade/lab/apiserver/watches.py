"""GET with ``watch``: changes as JSON lines, for as long as the client stays.

Rules: the API concepts page (watch, bookmarks, streaming lists), KEP-956, KEP-3157, KEP-365. An object that leaves the
selection is DELETED for that watcher; a revision that is no longer remembered is answered with an ERROR event, 410.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable

import msgspec
from aiohttp import web

from stockade.lab.apiserver.context import Context, context_of
from stockade.lab.apiserver.crd.versions import raw_as_served
from stockade.lab.apiserver.failures import bad_request, expired
from stockade.lab.apiserver.history import Record
from stockade.lab.apiserver.registry import ApiError, JsonObject
from stockade.lab.apiserver.requests import Shape, Target, flag, number, wanted_shape
from stockade.lab.apiserver.selectors import Selection, parse_selection
from stockade.lab.apiserver.tables import partial, table_of

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
BOOKMARK_EVERY = 60.0
LOOK_AROUND = 10.0  # how often an idle watch looks whether its client is still there
LONGEST = (1800, 3600)  # seconds, when the client names no timeout


class _Lines:
    """Events as this client wants them: selected, and as objects or as Tables."""

    def __init__(self, target: Target, selection: Selection, shape: Shape, include: str) -> None:
        self._target = target
        self._selection = selection
        self._shape = shape
        self._include = include
        self._columns_sent = False

    def initial(self, obj: JsonObject, raw: bytes) -> bytes:
        return self._line("ADDED", obj, raw) if self._selection.matches(obj) else b""

    def change(self, record: Record) -> bytes:
        obj = record.object
        if self._target.namespace not in ("", obj["metadata"].get("namespace", "")):
            return b""
        if self._selection.everything:
            return self._line(record.type, obj, record.raw)
        now = record.type != "DELETED" and self._selection.matches(obj)
        before = record.previous is not None and self._selection.matches(record.previous)
        if now:
            return self._line("MODIFIED" if before else "ADDED", obj, record.raw)
        if not before:
            return b""
        if record.type == "DELETED" or record.previous is None:
            return self._line("DELETED", obj, record.raw)
        metadata = {**record.previous["metadata"], "resourceVersion": str(record.revision)}
        last = {**record.previous, "metadata": metadata}
        return self._line("DELETED", last, msgspec.json.encode(last))

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        metadata: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        kind = self._target.kind
        obj: JsonObject = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        if self._shape is Shape.TABLE:
            return self._table_line("BOOKMARK", obj)
        if self._shape is Shape.PARTIAL:
            obj = partial(obj)
        return event_line("BOOKMARK", msgspec.json.encode(obj))

    def _line(self, change: str, obj: JsonObject, raw: bytes) -> bytes:
        if self._shape is Shape.TABLE:
            return self._table_line(change, obj)
        if self._shape is Shape.PARTIAL:
            return event_line(change, msgspec.json.encode(partial(obj)))
        return event_line(change, raw_as_served(self._target.kind, obj, raw))

    def _table_line(self, change: str, obj: JsonObject) -> bytes:
        version = obj["metadata"]["resourceVersion"]
        table = table_of(self._target.kind, [obj], version, self._include, columns=not self._columns_sent)
        self._columns_sent = True
        return event_line(change, msgspec.json.encode(table))


def event_line(change: str, raw: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (change.encode(), raw)


async def watch_objects(request: web.Request, target: Target) -> web.StreamResponse:
    context, query = context_of(request), request.query
    fields = query.get("fieldSelector", "")
    if target.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={target.name}")))
    lines = _Lines(
        target,
        parse_selection(target.kind, query.get("labelSelector", ""), fields),
        wanted_shape(request.headers.get("Accept", "")),
        query.get("includeObject", "Metadata"),
    )
    start, first = _start(request, context, target, lines)
    seconds = number(query, "timeoutSeconds") or random.randint(*LONGEST)  # noqa: S311 - spreads reconnects
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    task = asyncio.current_task()
    assert task is not None
    context.streams.add(task)
    try:
        await _write(response, [first])
        await _follow(request, response, target, lines, start, time.monotonic() + seconds)
        await response.write_eof()
    except ConnectionResetError:
        pass  # the client went away, as watchers do
    finally:
        context.streams.discard(task)
    return response


def _start(request: web.Request, context: Context, target: Target, lines: _Lines) -> tuple[int, bytes]:
    """The revision to go on from, and what is to be sent before."""
    query, store = request.query, context.store
    asked = _asked_revision(query.get("resourceVersion", ""))
    initial = flag(query, "sendInitialEvents")
    if asked > store.revision:  # of another life of this lab: the client must list again
        return asked, b""
    if asked and not initial:
        return asked, b""
    if "sendInitialEvents" in query and not initial:
        return store.revision, b""
    entries = store.entries(target.kind.resource, target.namespace)
    parts = [lines.initial(entry.object, entry.raw) for entry in entries]
    if initial and flag(query, "allowWatchBookmarks"):
        parts.append(lines.bookmark(store.revision, initial_end=True))
    return store.revision, b"".join(parts)


def _asked_revision(text: str) -> int:
    try:
        return int(text or "0")
    except ValueError:
        raise bad_request(
            f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        ) from None


async def _follow(
    request: web.Request,
    response: web.StreamResponse,
    target: Target,
    lines: _Lines,
    revision: int,
    end: float,
) -> None:
    store = context_of(request).store
    history = store.history(target.kind.resource)
    bookmarks = flag(request.query, "allowWatchBookmarks")
    next_bookmark = time.monotonic() + BOOKMARK_EVERY
    while (now := time.monotonic()) < end and request.transport and not request.transport.is_closing():
        try:
            if revision > store.revision:
                raise expired(revision, store.revision)
            records = history.since(revision)
        except ApiError as error:
            await response.write(event_line("ERROR", msgspec.json.encode(error.status)))
            return
        if records:
            revision = records[-1].revision
            await _write(response, (lines.change(record) for record in records))
        elif bookmarks and now >= next_bookmark:
            revision, next_bookmark = store.revision, now + BOOKMARK_EVERY
            await response.write(lines.bookmark(revision))
        else:
            await _wait(history.changed(), min(end - now, LOOK_AROUND))


async def _write(response: web.StreamResponse, parts: Iterable[bytes]) -> None:
    data = b"".join(parts)
    if data:
        await response.write(data)


async def _wait(changed: Coroutine[None, None, None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed
    except TimeoutError:
        pass
