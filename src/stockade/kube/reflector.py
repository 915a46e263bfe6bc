"""Reflector: keeps a local copy of one resource equal to the API server's, for ever (reference ecosystem A1, 1-8).

In: an ApiClient and a Resource. Out: calls on a Sink, in order: ``replace`` with everything (first, and again after each gap
in the history), then ``upsert`` and ``delete``. Who misses deletes while away learns of them from ``replace``.
Called by: ``agent.node`` (one task for each resource). Rule source: API concepts, "Efficient detection of changes", KEP-3157.

    streaming list (watch + sendInitialEvents) ──► replace ──► upsert, delete ──┐ closed: watch again from the last version
       └ server cannot: paged LIST ──► replace ──► watch ──► upsert, delete ────┤
    ◄── 410 Gone, as HTTP status or in the stream; 504 "Too large resource version": forget the version, list again
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import msgspec

from stockade.kube.backoff import Backoff, Clock, SystemClock
from stockade.kube.decode import decode_meta, decode_object
from stockade.kube.errors import ConfigError, KubeError, Status
from stockade.kube.pages import PAGE_SIZE, Api, Scope, list_all
from stockade.kube.resources import KubeObject, Resource
from stockade.model.meta import ObjectRef

EVERYTHING = Scope()
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
NO_STREAMING_LIST = {400, 405, 422}  # the server refuses sendInitialEvents


class Sink(Protocol):
    """Where the copy lives. Calls are synchronous and quick."""

    def replace(self, resource: Resource, objects: list[KubeObject]) -> None: ...

    def upsert(self, resource: Resource, obj: KubeObject) -> None: ...

    def delete(self, resource: Resource, ref: ObjectRef) -> None: ...

    def trouble(self, resource: Resource, error: Exception | None, retry_in: float) -> None:
        """The copy may be getting old, and why; None: it is fresh again."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Every number that shapes the traffic. ``idle`` seconds without any event: the connection may be dead, make a new one.
    ``initial_idle``: a server that knows no streaming list may also just never end it."""

    page_size: int = PAGE_SIZE
    shortest_watch: int = 300
    longest_watch: int = 600
    idle: float = 120.0
    initial_idle: float = 10.0
    too_short: float = 1.0


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class Stats(msgspec.Struct):
    """Counted for the agent's metrics."""

    replaces: int = 0
    watches: int = 0
    events: int = 0
    errors: int = 0


class Reflector:
    """``run`` never returns; ``synced`` is set after the first ``replace``."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        sink: Sink,
        *,
        scope: Scope = EVERYTHING,
        pace: Pace | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.stats = Stats()
        self._api = api
        self._sink = sink
        self._scope = scope
        self._pace = pace or Pace()
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._backoff = Backoff(self._clock, self._chance)
        # An agent often starts while its API server does: look again soon, then ever more seldom.
        self._starting = Backoff(self._clock, self._chance, first=0.05)
        self._version: str | None = None  # opaque; None: the copy has a gap, list again
        self._streaming = True
        self._initial: dict[ObjectRef, KubeObject] | None = None
        self._troubled = False

    async def run(self) -> None:
        while True:
            started, seen = self._clock.monotonic(), self.stats.events
            try:
                await self._turn()
            except (KubeError, ConfigError) as error:
                await self._pause(self._failed(error), error)
            else:
                lived = self._clock.monotonic() - started
                got_nowhere = self._version is None or self.stats.events == seen
                if got_nowhere and lived < self._pace.too_short:
                    await self._pause(self._backoff.next())  # a server that closes at once: do not spin

    async def _turn(self) -> None:
        """One connection's life. Returns when it ended in an orderly way."""
        if self._version is not None:
            await self._watch({"resourceVersion": self._version})
        elif not self._streaming:
            await self._list()
        else:
            self._initial = {}
            try:
                await self._watch({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"})
            finally:
                self._initial = None

    def _failed(self, error: KubeError | ConfigError) -> float:
        self.stats.errors += 1
        if not isinstance(error, KubeError):
            return self._backoff.next()
        if error.code == 0 and not self.synced.is_set():
            return self._starting.next()
        if error.is_expired:
            self._version = None
            return self._backoff.next(error.retry_after, free_first=True)
        if error.code in NO_STREAMING_LIST and self._version is None and self._streaming:
            self._streaming = False
            return 0.0
        return self._backoff.next(error.retry_after)

    async def _pause(self, delay: float, error: Exception | None = None) -> None:
        if delay and error is not None:
            self._troubled = True
            self._sink.trouble(self.resource, error, delay)
        if delay:
            await self._clock.sleep(delay)

    # -- lists

    async def _list(self) -> None:
        objects, self._version = await list_all(self._api, self.resource, self._scope, self._pace.page_size)
        self._replace(objects)

    def _replace(self, objects: list[KubeObject]) -> None:
        self.stats.replaces += 1
        self.stats.events += 1
        self._sink.replace(self.resource, objects)
        self._well()
        self.synced.set()

    def _well(self) -> None:
        if self._troubled:
            self._troubled = False
            self._sink.trouble(self.resource, None, 0.0)

    # -- watch

    async def _watch(self, params: dict[str, str]) -> None:
        pace, loop = self._pace, asyncio.get_running_loop()
        seconds = self._chance.randint(pace.shortest_watch, pace.longest_watch)
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            **params,
            **self._scope.params,
        }
        self.stats.watches += 1
        try:
            async with (
                asyncio.timeout(self._patience()) as watchdog,
                self._api.stream(self.resource.path(self._scope.namespace), query) as lines,
            ):
                if self._initial is None:
                    self._well()
                async for line in lines:
                    self._take(line)
                    watchdog.reschedule(loop.time() + self._patience())
        except TimeoutError:
            # Silence. Before the end of the initial events: the server takes no notice of sendInitialEvents.
            self._streaming = self._streaming and self._initial is None

    def _patience(self) -> float:
        return self._pace.idle if self._initial is None else self._pace.initial_idle

    def _take(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=_Event)
        except msgspec.DecodeError as error:
            raise KubeError(200, "", f"the watch of {self.resource} sent no event: {error}") from error
        if event.type == "ERROR":
            raise _failure(event.object)
        self.stats.events += 1
        meta = decode_meta(event.object)
        if meta is None:
            return
        if event.type != "BOOKMARK":
            self._change(event, meta.ref)
        elif self._initial is not None and (meta.annotations or {}).get(INITIAL_EVENTS_END) == "true":
            initial, self._initial = list(self._initial.values()), None
            self._version = meta.resource_version
            self._replace(initial)
        if self._initial is None:
            self._version = meta.resource_version

    def _change(self, event: _Event, ref: ObjectRef) -> None:
        obj = None if event.type == "DELETED" else decode_object(self.resource, event.object)
        if self._initial is not None:
            if obj is None:
                self._initial.pop(ref, None)
            else:
                self._initial[ref] = obj
        elif obj is None:
            self._sink.delete(self.resource, ref)
        else:
            self._sink.upsert(self.resource, obj)


def _failure(raw: msgspec.Raw) -> KubeError:
    try:
        status = msgspec.json.decode(raw, type=Status)
    except msgspec.DecodeError:
        status = Status(500, "", "the watch ended with an error that is no Status")
    seconds = status.details.retry_after_seconds if status.details else None
    return KubeError(status.code, status.reason, status.message, retry_after=seconds)
