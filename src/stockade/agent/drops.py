"""Denied packets become Events on the pods they concern (``kubectl describe pod``, ``stockade drops``).

In: the data plane's drop log. Out: Occurrences for the EventRecorder, which aggregates and posts them; counters. Called by ``agent.node``.
The packet path never waits for this: the kernel limits its log, the reader drops what nobody takes, equal packets are attributed
once, and the loop gets its turn after each batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stockade.agent.attribution import Attribution, View, attribute
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.metrics import Counters
from stockade.dataplane.droplog import DropLog, DropLogError, DropRecord
from stockade.kube.backoff import Backoff, Clock

log = logging.getLogger(__name__)

REASON = "NetworkPolicyDenied"
REMEMBERED = 4096
BATCH = 64

_Key = tuple[str, str, int, int, str, int | None]


class Drops:
    """``run`` as a task. ``view`` None: nothing is programmed by us yet, so nothing can be attributed."""

    def __init__(
        self,
        open_log: Callable[[], DropLog],
        view: Callable[[], View | None],
        recorder: EventRecorder,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._open_log = open_log
        self._view = view
        self._recorder = recorder
        self._counters = counters
        self._clock = clock
        self._backoff = Backoff(clock)
        self._seen_in: View | None = None
        self._known: dict[_Key, Attribution | None] = {}

    async def run(self) -> None:
        while True:
            try:
                async with self._open_log() as records:
                    await self._read(records)
            except (DropLogError, OSError) as error:
                delay = self._backoff.next()
                log.warning("denied packets are not reported: %s; trying again in %.1fs", error, delay)
                await self._clock.sleep(delay)

    async def _read(self, records: DropLog) -> None:
        taken = 0
        async for record in records:
            self._counters.log_overruns = records.lost
            self.take(record)
            taken += 1
            if taken % BATCH == 0:
                await asyncio.sleep(0)

    def take(self, record: DropRecord) -> None:
        self._counters.drops[record.direction.lower() or "fence"] += 1
        found = self._attributed(record)
        if found is None:
            self._counters.drops_unattributed += 1
            return
        subject = Subject("Pod", found.pod.namespace, found.pod.name, found.uid)
        self._recorder.record(Occurrence(subject, REASON, found.message, annotations=found.annotations))

    def _attributed(self, record: DropRecord) -> Attribution | None:
        view = self._view()
        if view is None:
            return None
        if self._seen_in is None or not _same(view, self._seen_in) or len(self._known) >= REMEMBERED:
            self._seen_in = view
            self._known = {}
        key = (record.chain, record.profile, record.source, record.destination, record.protocol, record.dport)
        if key not in self._known:
            self._known[key] = _attribute(view, record)
        return self._known[key]


def _attribute(view: View, record: DropRecord) -> Attribution | None:
    try:
        found = attribute(view, record)
    except Exception:  # reporting must never end enforcing
        log.exception("cannot attribute %s", record)
        return None
    if found is None:
        log.info("denied, and no pod is known for it: %s", record)
    return found


def _same(one: View, other: View) -> bool:
    return one.state is other.state and one.compiled is other.compiled
