"""EventRecorder: things worth telling a user, as core/v1 Events, without ever blocking who has something to tell.

In: Occurrences, from the drop log's attribution and from the programming loop. Out: one Event for each distinct occurrence,
posted at once, then its count patched about once a second. Memory and API traffic are bounded: beyond ``limit`` distinct
occurrences the longest silent ones are forgotten, and counted as such.
Rule source: core/v1 Event (count, firstTimestamp, lastTimestamp), as client-go's recorder writes them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from stockade.kube.backoff import Backoff, Clock, SystemClock
from stockade.kube.errors import ConfigError, KubeError
from stockade.kube.resources import EVENTS, Resource

log = logging.getLogger(__name__)

WARNING, NORMAL = "Warning", "Normal"
COMPONENT = "stockade-agent"
NAME_ROOM, MESSAGE_ROOM = 230, 1024  # of 253 characters for a name; the API takes no longer message
TRANSIENT = {0, 401, 429, 500, 502, 503, 504}


class Subject(msgspec.Struct, frozen=True):
    """involvedObject. Events about cluster-scoped objects live in the namespace ``default``."""

    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def home(self) -> str:
        return self.namespace or "default"


class Occurrence(msgspec.Struct, frozen=True):
    """Equal ``subject``, ``reason`` and ``message``: the same thing happened again. With ``topic`` the message does not tell them
    apart: one Event, which carries the newest message (a fault that words itself differently each time is still one fault)."""

    subject: Subject
    reason: str
    message: str
    type: str = WARNING
    annotations: tuple[tuple[str, str], ...] = ()
    topic: str = ""

    @property
    def key(self) -> tuple[Subject, str, str]:
        return self.subject, self.reason, self.topic or self.message


class Api(Protocol):
    """The part of ApiClient that is used here."""

    async def create(self, resource: Resource, namespace: str, obj: Any) -> dict[str, Any]: ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        *,
        kind: str = "merge",
        subresource: str = "",
    ) -> dict[str, Any]: ...


class _Series:
    """One Event in the making."""

    def __init__(self, occurrence: Occurrence, name: str, now: dt.datetime) -> None:
        self.occurrence = occurrence
        self.name = name
        self.first = self.last = now
        self.count = 0
        self.told = 0  # the count that the API server knows; 0: not posted yet


class EventRecorder:
    """``record`` from the event loop's thread; ``run`` as a task."""

    def __init__(
        self,
        api: Api,
        host: str,
        *,
        limit: int = 1024,
        interval: float = 1.0,
        per_round: int = 50,
        clock: Clock | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.forgotten = 0
        self._api = api
        self._host = host
        self._limit, self._interval, self._per_round = limit, interval, per_round
        self._clock = clock or SystemClock()
        self._backoff = Backoff(self._clock, first=0.2, longest=5.0)
        self._now = now
        self._series: OrderedDict[tuple[Subject, str, str], _Series] = OrderedDict()
        self._fresh: OrderedDict[int, _Series] = OrderedDict()
        self._wake = asyncio.Event()

    def record(self, occurrence: Occurrence, count: int = 1) -> None:
        key = occurrence.key
        series = self._series.get(key)
        if series is None:
            subject = occurrence.subject
            series = _Series(occurrence, f"{subject.name[:NAME_ROOM]}.{secrets.token_hex(8)}", self._now())
            self._series[key] = series
            self._fresh[id(series)] = series
            self._wake.set()
            self._forget()
        series.occurrence = occurrence
        series.count += count
        series.last = self._now()
        self._series.move_to_end(key)

    async def run(self) -> None:
        """Both loops, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._post_fresh())
            group.create_task(self._tell_counts())

    async def flush(self) -> None:
        """Everything not told yet, once; at shutdown."""
        for series in list(self._series.values()):
            await self._tell(series)

    def _forget(self) -> None:
        if len(self._series) > self._limit:
            _, series = self._series.popitem(last=False)
            self._fresh.pop(id(series), None)
            self.forgotten += series.count > series.told

    async def _post_fresh(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._fresh:
                series = next(iter(self._fresh.values()))
                if await self._tell(series):
                    self._fresh.pop(id(series), None)
                    continue
                if id(series) in self._fresh:
                    self._fresh.move_to_end(id(series))  # one that the server cannot take holds up nobody
                await self._clock.sleep(self._backoff.next())

    async def _tell_counts(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            # The longest untold first; those never posted are the other loop's.
            behind = [series for series in self._series.values() if 0 < series.told < series.count]
            for series in behind[: self._per_round]:
                if not await self._tell(series):
                    await self._clock.sleep(self._backoff.next())
                    break

    async def _tell(self, series: _Series) -> bool:
        """False: the server could not be asked, try later."""
        if series.told >= series.count:
            return True
        count = series.count
        try:
            if not series.told or not await self._patch(series):
                await self._api.create(EVENTS, series.occurrence.subject.home, self._event(series))
        except (KubeError, ConfigError) as error:
            if isinstance(error, ConfigError) or error.code in TRANSIENT:
                return False
            # The pod's namespace is gone, or we may not write events: nobody to tell.
            log.info("event %s about %s not stored: %s", series.occurrence.reason, series.name, error)
        series.told = count
        return True

    async def _patch(self, series: _Series) -> bool:
        """False: the server has dropped the Event (they live an hour)."""
        what = series.occurrence
        patch: dict[str, Any] = {"count": series.count, "lastTimestamp": _stamp(series.last)}
        if what.topic:
            patch |= {
                "message": what.message[:MESSAGE_ROOM],
                "metadata": {"annotations": dict(what.annotations)},
            }
        try:
            await self._api.patch(EVENTS, series.occurrence.subject.home, series.name, patch)
        except KubeError as error:
            if error.code != 404:
                raise
            return False
        return True

    def _event(self, series: _Series) -> dict[str, Any]:
        what = series.occurrence
        about = {
            "apiVersion": "v1",
            "kind": what.subject.kind,
            "name": what.subject.name,
            "uid": what.subject.uid,
        }
        if what.subject.namespace:
            about["namespace"] = what.subject.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": series.name,
                "namespace": what.subject.home,
                "annotations": dict(what.annotations),
            },
            "involvedObject": about,
            "reason": what.reason,
            "message": what.message[:MESSAGE_ROOM],
            "type": what.type,
            "source": {"component": COMPONENT, "host": self._host},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._host,
            "firstTimestamp": _stamp(series.first),
            "lastTimestamp": _stamp(series.last),
            "count": series.count,
        }


def _stamp(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
