"""Dataplane: brings the kernel's table to the wanted ruleset and keeps it there. Called by the agent.

    apply(wanted) ── first time ──► adopt: read the table, change it in place under the next generation; none: load it whole
                  └─ later ───────► diff to what was applied, one small transaction
                       on error ──► adopt; then replace the table; wait; again. The old rules stay in force meanwhile.

Never flushes, never deletes and loads in two steps: both would be an open moment (reference dataplane 2). Stopping the agent
changes nothing in the kernel; only ``cleanup`` takes the table away.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from stockade.dataplane.diff import Transaction, adopt, diff, replace
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.programmer import Held, Programmer, ProgrammingError

_LOG = logging.getLogger(__name__)


class Applied(msgspec.Struct, frozen=True):
    """``changed``: the kernel was written to; ``bumped``: known connections are judged again; ``full``: the table was made anew."""

    changed: bool
    bumped: bool = False
    full: bool = False
    ms: float = 0.0


class Dataplane:
    """One at a time per network namespace. ``retries`` are those of one ``apply``, with doubling pauses.

    ``generation`` is where counting starts when there is no table: at random, for connections may still carry marks from a
    table of an earlier life, and those must not count.
    """

    def __init__(
        self,
        programmer: Programmer,
        *,
        retries: int = 4,
        pause: float = 0.05,
        generation: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._programmer = programmer
        self._retries = retries
        self._pause = pause
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._applied: Ruleset | None = None
        self._generation = secrets.randbelow(0xFFFF) if generation is None else generation

    @property
    def applied(self) -> Ruleset | None:
        """What the kernel holds as far as is known; None before the first ``apply`` and after a failed one."""
        return self._applied

    @property
    def generation(self) -> int:
        return self._generation

    async def apply(self, wanted: Ruleset) -> Applied:
        """Raises ProgrammingError when the kernel refuses again and again; the rules in force are then the old ones."""
        async with self._lock:
            started = time.monotonic()
            if self._applied is not None:
                transaction = diff(self._applied, wanted, self._generation)
                if transaction.is_empty:
                    self._applied = wanted
                    return Applied(changed=False)
                try:
                    await self._load(transaction, wanted)
                except ProgrammingError as error:
                    _LOG.warning("incremental update failed, starting from the table in force: %s", error)
                else:
                    return _report(transaction, started)
            return _report(await self._adopt(wanted), started)

    async def verify(self) -> bool:
        """Is the table what was applied? If not, it is repaired, and the answer is False. Nothing applied yet: True."""
        async with self._lock:
            wanted = self._applied
            if wanted is None or await self._programmer.holds(wanted):
                return True
            _LOG.warning("the table is not what was programmed: repairing it")
            await self._adopt(wanted)
            return False

    async def cleanup(self) -> None:
        """Take the table away: nothing is policed any more."""
        async with self._lock:
            self._applied = None
            await self._programmer.delete()

    async def _adopt(self, wanted: Ruleset) -> Transaction:
        """Retries; the table is read anew each time. From the second attempt on it is made anew, whatever is in force."""
        pause = self._pause
        for attempt in range(self._retries + 1):
            try:
                transaction = _start(
                    await self._programmer.read(), wanted, self._generation, anew=attempt > 0
                )
                await self._load(transaction, wanted)
            except ProgrammingError as error:
                if attempt == self._retries:
                    raise
                _LOG.warning("programming failed, trying again in %.2f s: %s", pause, error)
                await self._sleep(pause)
                pause *= 2
            else:
                return transaction
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _load(self, transaction: Transaction, wanted: Ruleset) -> None:
        """If interrupted nobody knows which rules are in force, so the next ``apply`` replaces them all."""
        self._applied = None
        if transaction.prepare:
            await self._programmer.load(transaction.prepare)
        await self._programmer.load(transaction.text)
        self._applied, self._generation = wanted, transaction.generation


def _start(held: Held | None, wanted: Ruleset, last: int, *, anew: bool) -> Transaction:
    """``last`` is our own generation: without a table connections may still carry its mark."""
    generation = last if held is None or held.generation is None else held.generation
    if anew or held is None or held.ruleset is None:
        return replace(wanted, generation)
    return adopt(held.ruleset, wanted, generation)


def _report(transaction: Transaction, started: float) -> Applied:
    elapsed = (time.monotonic() - started) * 1000
    return Applied(changed=True, bumped=transaction.bump, full=transaction.full, ms=elapsed)
