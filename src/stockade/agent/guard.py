"""Keeps others' hands off the table: what somebody else changed is noticed, repaired in one transaction, and reported.

    kernel ──Change──► Guard ──verify──► Dataplane: as programmed? if not, repair
              timer ─────┘                  └─► Event on the Node, log line, Account

In: a Watch (the kernel's own notifications, as ``dataplane.nfnetlink`` reads them) and a timer that looks without being told: rarely
while the watch works, every ten seconds when there is none. Out: Dataplane.verify calls. Called by ``agent.node``.
A storm of changes costs one look each time the one before is over, and looks take a third of the time at most. Changes of other tables are
not the watch's to tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from stockade.agent.account import Account
from stockade.agent.faults import Faults, Work
from stockade.dataplane.nfnetlink.monitor import Change
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.kube.backoff import Backoff, Clock

log = logging.getLogger(__name__)

TABLE_CHANGED = "NetworkPolicyTableChanged"
UNWATCHED, WATCHED = 10.0, 60.0  # seconds between looks
GATHER = 0.02  # what one command changes comes as many notifications
REMEMBERED, TOLD = 64, 3  # changes between two looks
SHARE = 2  # a look that took a second is followed by so many of peace


Watch = Callable[[], AbstractAsyncContextManager[AsyncIterator[Change]]]


class Guard:
    """``run`` as a task. ``distrust``: called when nobody knows what the kernel holds, for a repair failed half-way."""

    def __init__(
        self,
        dataplane: Dataplane,
        *,
        account: Account,
        faults: Faults,
        distrust: Callable[[], None],
        clock: Clock,
        watch: Watch | None = None,
        every: float | None = None,
    ) -> None:
        self._dataplane = dataplane
        self._account = account
        self._faults = faults
        self._distrust = distrust
        self._clock = clock
        self._watch = watch
        self._every = every
        self._suspected = asyncio.Event()
        self._changes: list[Change] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_verified())
            if self._watch is not None:
                group.create_task(self._keep_watching(self._watch))

    # -- looking

    async def _keep_verified(self) -> None:
        while True:
            await self._wait_for_suspicion(self._interval)
            await self._clock.sleep(GATHER)
            started = self._clock.monotonic()
            delay = await self._look()
            await self._clock.sleep(max(delay, SHARE * (self._clock.monotonic() - started)))

    @property
    def _interval(self) -> float:
        return self._every or (WATCHED if self._account.watching else UNWATCHED)

    async def _wait_for_suspicion(self, seconds: float) -> None:
        suspected = asyncio.ensure_future(self._suspected.wait())
        over = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({suspected, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            suspected.cancel()
            over.cancel()

    async def _look(self) -> float:
        """Seconds to wait before the next look, whatever is suspected."""
        self._suspected.clear()
        changes, self._changes = self._changes, []
        self._account.verified += 1
        try:
            intact = await self._dataplane.verify()
        except ProgrammingError as error:
            return self._unknown(str(error), changes)
        except Exception as error:
            log.exception("the kernel's rules could not be compared")
            return self._unknown(f"{type(error).__name__}: {error}", changes)
        self._faults.works(Work.VERIFYING)
        if not intact or any(change.pid for change in changes):
            self._report(changes, repaired=not intact)
        return 0.0

    def _unknown(self, error: str, changes: list[Change]) -> float:
        self._changes = changes + self._changes
        self._suspected.set()
        if self._dataplane.applied is None:
            self._distrust()
        return self._faults.failed(Work.VERIFYING, error)

    def _report(self, changes: list[Change], *, repaired: bool) -> None:
        """Not ``repaired``: it was put right in passing, by a change of ours that read the table first, or by whoever did it."""
        self._account.repairs += repaired
        who, what = _who(changes), _what(changes)
        outcome = "it has been repaired" if repaired else "it is as programmed again"
        text = f"the table inet stockade was changed by {who}{what and ': '}{what}; {outcome}"
        log.warning("%s", text)
        topic = ", ".join(sorted({change.process for change in changes if change.pid}))
        self._faults.events.warn(TABLE_CHANGED, text, topic or "unknown")

    # -- being told

    async def _keep_watching(self, watch: Watch) -> None:
        backoff = Backoff(self._clock)
        while True:
            try:
                async with watch() as changes:
                    self._account.watching = True
                    self._suspected.set()  # nobody watched until now
                    async for change in changes:
                        self._take(change)
            except OSError as error:
                delay = backoff.next()
                log.warning(
                    "changes of the table by others are not told, looking every %.0f s; trying again in %.1f s: %s",
                    self._every or UNWATCHED,
                    delay,
                    error,
                )
            else:
                delay = backoff.next()
            self._account.watching = False
            self._suspected.set()
            await self._clock.sleep(delay)

    def _take(self, change: Change) -> None:
        self._account.foreign_changes += 1
        if len(self._changes) < REMEMBERED:
            self._changes.append(change)
        self._suspected.set()


def _who(changes: list[Change]) -> str:
    names = dict.fromkeys(f"{change.process} (pid {change.pid})" for change in changes if change.pid)
    return " and ".join(names) or "somebody else"


def _what(changes: list[Change]) -> str:
    words = list(dict.fromkeys(change.what for change in changes if change.what))
    more = f" and {len(words) - TOLD} more" if len(words) > TOLD else ""
    return ", ".join(words[:TOLD]) + more
