"""The doors to this node's kernel that an agent needs, opened as the operator chose: who programs, who watches, who counts, who
forgets connections.

In: backend and choices. Out: a Dataplane, a Watch, a reader of counters. Called by ``cli.agent``. All sockets belong to the network
namespace of the thread that makes this, and to the event loop that first uses them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager

from stockade.dataplane.backends import open_backend
from stockade.dataplane.conntrack import Conntrack
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nfnetlink.monitor import Change, Monitor
from stockade.dataplane.nfnetlink.reading import Reader
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.net.cidr import Address

log = logging.getLogger(__name__)


class Kernel:
    """Raises ProgrammingError when neither backend works here."""

    def __init__(
        self, backend: str = "netlink", *, own_table: bool = False, keep_flows: bool = False
    ) -> None:
        self.programmer = open_backend(backend, own=own_table)
        self.dataplane = Dataplane(self.programmer, forget=_Forgetting() if keep_flows else None)
        self._counters: Reader | None = None

    @property
    def name(self) -> str:
        if not isinstance(self.programmer, Netlink):
            return "nft"
        return "netlink, table owned" if self.programmer.owns else "netlink"

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Change]]:
        """Changes of the table by others."""
        if isinstance(self.programmer, Netlink):
            async with aclosing(self.programmer.changes()) as changes:
                yield changes
            return
        ours = self.programmer.children if isinstance(self.programmer, Nft) else ()
        monitor = Monitor()
        try:
            async with aclosing(_by_others(monitor.changes(), ours)) as changes:
                yield changes
        finally:
            monitor.close()

    async def read_counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes by name, with either backend, beside the event loop: there may be thousands. One call at a time. Raises
        OSError."""
        if self._counters is None:
            # Here, not in the thread: it belongs to the network namespace of who opens it.
            self._counters = Reader()
        return await asyncio.to_thread(self._counters.counters)


async def _by_others(
    changes: AsyncIterator[Change], children: Collection[int]
) -> AsyncGenerator[Change, None]:
    """``children``: the processes that write for us."""
    async for change in changes:
        if change.pid not in children:
            yield change


class _Forgetting:
    """Connections of pods that are gone; a whole table takes a while, so it is walked beside the event loop."""

    def __init__(self) -> None:
        self._conntrack = Conntrack()

    async def __call__(self, addresses: Collection[Address]) -> None:
        number = await asyncio.to_thread(self._conntrack.forget, addresses)
        log.debug("%d connections of %d addresses forgotten", number, len(addresses))
