"""The recent changes of one resource, in memory, for watches.

A watcher holds nothing but a revision: it asks ``since`` for what came after it and awaits ``changed`` when there is
nothing. So a slow watcher costs no memory; one that falls behind the bound gets 410 Expired, as etcd's clients do.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right

import msgspec

from stockade.lab.apiserver.failures import expired
from stockade.lab.apiserver.registry import JsonObject


class Record(msgspec.Struct, frozen=True):
    """``type`` ADDED, MODIFIED or DELETED; ``raw`` is ``object`` as JSON; ``previous`` is what it replaced."""

    revision: int
    type: str
    object: JsonObject
    raw: bytes
    previous: JsonObject | None = None


class History:
    """Keeps at least ``limit`` records, or the newest half of ``most`` bytes of JSON where that is less. ``floor`` is the newest revision
    whose successors are all known."""

    def __init__(self, floor: int, limit: int = 1024, most: int = 8 * 2**20) -> None:
        self._records: list[Record] = []
        self._limit = limit
        self._most = most
        self._bytes = 0
        self._floor = floor
        self._next: asyncio.Future[None] | None = None

    def append(self, record: Record) -> None:
        self._records.append(record)
        self._bytes += len(record.raw)
        if len(self._records) >= 2 * self._limit:
            self._forget(self._limit)
        elif self._bytes > self._most:  # few but large ones that change all the time, as endpoints do
            self._forget(len(self._records) // 2)
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    def _forget(self, count: int) -> None:
        if count:
            self._floor = self._records[count - 1].revision
            self._bytes -= sum(len(record.raw) for record in self._records[:count])
            del self._records[:count]

    def since(self, revision: int) -> list[Record]:
        """Raises ApiError Expired when some of the changes after ``revision`` are forgotten."""
        if revision < self._floor:
            raise expired(revision, self._floor)
        return self._records[bisect_right(self._records, revision, key=lambda record: record.revision) :]

    async def changed(self) -> None:
        """Returns after the next ``append``."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)
