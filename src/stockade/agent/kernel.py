"""The doors to this node's kernel that an agent needs, opened as the operator chose: who programs, who watches, who forgets connections.

In: backend and choices. Out: a Dataplane, and a Watch where the backend has one. Called by ``cli.agent``. All of them belong to
the network namespace of the thread that makes this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from stockade.agent.guard import Watch
from stockade.dataplane.conntrack import Conntrack
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import Programmer
from stockade.net.cidr import Address

log = logging.getLogger(__name__)


class Kernel:
    """``programmer`` and ``dataplane`` for writing; ``watch`` None: nobody tells of changes by others."""

    def __init__(self, backend: str, *, own_table: bool = False, keep_flows: bool = False) -> None:
        del own_table
        assert backend == "nft"
        self.programmer: Programmer = Nft()
        self.watch: Watch | None = None
        self.dataplane = Dataplane(self.programmer, forget=_Forgetting() if keep_flows else None)


class _Forgetting:
    """Connections of pods that are gone; a whole table takes a while, so it is walked beside the event loop."""

    def __init__(self) -> None:
        self._conntrack = Conntrack()

    async def __call__(self, addresses: Collection[Address]) -> None:
        number = await asyncio.to_thread(self._conntrack.forget, addresses)
        log.debug("%d connections of %d addresses forgotten", number, len(addresses))
