"""A queue of keys to look at: each key waits at most once, failures come again later, what is laborious rests, nothing polls.

In: keys from watches. Out: keys to reconcile. Called by ``loop``. The same contract as client-go's rate-limited work queue,
for one consumer on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_DELAY, _LONGEST_DELAY = 0.01, 10.0


class WorkQueue(Generic[K]):
    def __init__(self) -> None:
        self._waiting: deque[K] = deque()
        self._present: set[K] = set()
        self._some = asyncio.Event()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._resting: dict[K, asyncio.TimerHandle] = {}
        self._missed: set[K] = set()

    def add(self, key: K) -> None:
        """Look at ``key`` soon; a key that already waits is not added again."""
        if key in self._resting:
            self._missed.add(key)
        elif key not in self._present:
            self._present.add(key)
            self._waiting.append(key)
            self._some.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Look at ``key`` again in ``seconds``, or earlier when something asked for that before."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None and not timer.cancelled() and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: K) -> None:
        """After a failure: again later, each time twice as late, at most every ten seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(_FIRST_DELAY * 2 ** min(failures, 20), _LONGEST_DELAY))

    def forget(self, key: K) -> None:
        """``key`` is in order: its next failure counts as the first."""
        self._failures.pop(key, None)

    def rest(self, key: K, seconds: float) -> None:
        """Whatever asks for ``key`` meanwhile is heard when ``seconds`` are over, once."""
        if key not in self._resting:
            self._resting[key] = asyncio.get_running_loop().call_later(seconds, self._rested, key)

    def _rested(self, key: K) -> None:
        del self._resting[key]
        if key in self._missed:
            self._missed.discard(key)
            self.add(key)

    async def get(self) -> K:
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key = self._waiting.popleft()
        self._present.discard(key)
        return key

    def close(self) -> None:
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()
        self._timers.clear()
        self._resting.clear()
