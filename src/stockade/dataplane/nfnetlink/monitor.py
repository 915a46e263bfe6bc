"""Tells the agent when somebody else changed our table. Called by the agent, which then verifies.

kernel, group 7 ──► Events (ours are dropped in the kernel) ──► Monitor.changes() ──► Dataplane.verify
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import msgspec

from stockade.dataplane.nfnetlink.events import Commit, Events, Lost


class Change(msgspec.Struct, frozen=True):
    """``process`` and ``pid`` are empty and 0 when notifications were lost and so nobody is known."""

    process: str
    pid: int
    what: str


class Monitor:
    """``own``: ports of our own sockets, ``Netlink.ports``. Opens in the network namespace of the calling thread; OSError when the
    kernel does not let us listen."""

    def __init__(self, own: Iterable[int] = ()) -> None:
        self._events = Events(own)

    def close(self) -> None:
        self._events.close()

    async def changes(self) -> AsyncGenerator[Change, None]:
        """One for each transaction that touched our table, without end. One consumer at a time."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._events.fileno(), ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                for event in self._events.drain():
                    change = change_of(event)
                    if change is not None:
                        yield change
        finally:
            loop.remove_reader(self._events.fileno())


def change_of(event: Commit | Lost) -> Change | None:
    if isinstance(event, Lost):
        return Change("", 0, "notifications were lost")
    return Change(event.process, event.pid, ", ".join(event.changes)) if event.changes else None
