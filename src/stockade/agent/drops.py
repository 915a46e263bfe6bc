"""Denied packets become Events on the pods they concern (``kubectl describe pod``, ``stockade drops``).

In: the data plane's drop log, already counted by kind. Out: Occurrences for the EventRecorder, which aggregates and posts them; counters;
a warning when the log cannot be read. Called by ``agent.node``.
The packet path never waits for this: the kernel limits its log, the reader counts equal packets without looking into them, each kind is
attributed once for as long as nothing changes that decides about it, and the loop gets its turn after each batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from stockade.agent import scans
from stockade.agent.attribution import Attribution, Attributor, View
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.metrics import Counters
from stockade.dataplane.droplog import DropLog, DropLogError, DropRecord
from stockade.kube.backoff import Backoff, Clock

log = logging.getLogger(__name__)

REASON = "NetworkPolicyDenied"
LOG_FAILED = "NetworkPolicyDropLogFailed"
REMEMBERED = 4096
BATCH = 64

_Known = tuple[tuple[object, ...], Attribution | None]


class Drops:
    """``run`` as a task. ``view`` None: nothing is programmed by us yet, so nothing can be attributed. ``warn`` hears why denied
    packets are not reported, at each attempt."""

    def __init__(
        self,
        open_log: Callable[[], DropLog],
        view: Callable[[], View | None],
        recorder: EventRecorder,
        counters: Counters,
        clock: Clock,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._open_log = open_log
        self._view = view
        self._recorder = recorder
        self._counters = counters
        self._clock = clock
        self._warn = warn
        self._backoff = Backoff(clock)
        self._attributor = Attributor()
        self._scans = scans.Scans()
        self._known: dict[DropRecord, _Known] = {}

    async def run(self) -> None:
        while True:
            try:
                async with self._open_log() as records:
                    await self._read(records)
            except (DropLogError, OSError) as error:
                delay = self._backoff.next()
                log.warning("denied packets are not reported: %s; trying again in %.1fs", error, delay)
                self._warn(f"denied packets are not reported: {error}")
                await self._clock.sleep(delay)

    async def _read(self, records: DropLog) -> None:
        """A log that was opened anew counts from nothing."""
        overruns, lost = self._counters.log_overruns, self._counters.log_lost
        taken = 0
        async for record in records:
            self._counters.log_overruns = overruns + records.overruns
            self._counters.log_lost = lost + records.lost
            self.take(record)
            taken += 1
            if taken % BATCH == 0:
                await asyncio.sleep(0)

    def take(self, record: DropRecord) -> None:
        self._counters.drops[record.direction.lower() or "fence"] += record.count
        found = self._attributed(record)
        if found is None:
            self._counters.drops_unattributed += record.count
            return
        subject = Subject("Pod", found.pod.namespace, found.pod.name, found.uid)
        scan = self._scans.beyond(found, self._clock.monotonic())
        if scan is None:
            happened = Occurrence(
                subject, REASON, found.message, annotations=found.annotations, topic=found.topic
            )
        else:
            happened = Occurrence(
                subject,
                REASON,
                scans.text(found, scan),
                annotations=scans.notes(found, scan),
                topic=f"addresses {found.direction} {found.why}",
            )
        self._recorder.record(happened, record.count)

    def _attributed(self, record: DropRecord) -> Attribution | None:
        view = self._view()
        if view is None:
            return None
        try:
            return self._known_or_new(view, record)
        except Exception:  # reporting must never end enforcing
            log.exception("cannot attribute %s", record)
            return None

    def _known_or_new(self, view: View, record: DropRecord) -> Attribution | None:
        """Packets of one kind differ in numbers that no answer depends on, but for a scan's."""
        kind = msgspec.structs.replace(record, sport=None, icmp_type=None, first=0.0, time=0.0, count=1)
        basis = self._attributor.basis(view, record)
        known = self._known.get(kind)
        if known is not None and _same(known[0], basis):
            return known[1]
        found = self._attributor.attribute(view, record)
        if found is None and known is None:
            log.debug("denied, and no pod is known for it: %s", record)
        if record.ports == 1:
            self._known[kind] = basis, found
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return found


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(a is b for a, b in zip(one, other, strict=True))
