"""The clock as a door, and the back-off that every retry loop shares (reference ecosystem A1.5).

Exponential with full jitter, 0.8 s to 30 s, forgotten after a quiet minute; a server's Retry-After is a lower bound.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

FIRST, LONGEST, QUIET = 0.8, 30.0, 60.0


class Clock(Protocol):
    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Backoff:
    """``next`` says how long to wait before trying again, and remembers having been asked."""

    def __init__(
        self,
        clock: Clock,
        chance: random.Random | None = None,
        *,
        first: float = FIRST,
        longest: float = LONGEST,
        quiet: float = QUIET,
    ) -> None:
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._first, self._longest, self._quiet = first, longest, quiet
        self._failures = 0
        self._last = clock.monotonic()

    def next(self, retry_after: float | None = None, *, free_first: bool = False) -> float:
        """``free_first``: no waiting at all when the last trouble is long ago (for troubles that a retry cures)."""
        now = self._clock.monotonic()
        if now - self._last >= self._quiet:
            self._failures = 0
        ceiling = min(self._longest, self._first * 2.0 ** min(self._failures, 16))
        delay = 0.0 if free_first and not self._failures else self._chance.uniform(0, ceiling)
        self._failures += 1
        self._last = now + delay
        return max(delay, retry_after or 0.0)
