"""A clock that a test moves: whoever sleeps wakes up in order, at exactly the time asked for, and no real time passes.

In: the test's ``pass_time``. Out: the Clock of ``kube.backoff``. What runs under it must wait for nothing else than this clock and
events that the test sets.
"""

from __future__ import annotations

import asyncio

_ROUNDS = 60  # of the event loop: more than any chain of wake-ups under test has links


class VirtualClock:
    """``now`` in seconds, from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        entry = (self.now + seconds, asyncio.get_running_loop().create_future())
        self._sleepers.append(entry)
        try:
            await entry[1]
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    async def pass_time(self, seconds: float) -> None:
        """Everybody who wakes up meanwhile sees the time that it is then."""
        end = self.now + seconds
        while True:
            await settle()
            due = [entry for entry in self._sleepers if entry[0] <= end]
            if not due:
                break
            first = min(due, key=lambda entry: entry[0])
            self._sleepers.remove(first)
            self.now = max(self.now, first[0])
            first[1].set_result(None)
        self.now = end
        await settle()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
