"""One node as the agent wires it: the world, the rules that follow it, the table that follows the rules. Called by ``programming``, ``cut``
and ``layouts``. What the agent does beyond (watching, coalescing, reporting) is not measured here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from cluster import node_view
from stockade.dataplane.backends import open_backend
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.nfnetlink.messages import encode
from stockade.dataplane.operations import Batch
from stockade.dataplane.patch import Patch
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import Held, Programmer
from stockade.store.delta import Delta, apply
from stockade.store.state import ClusterState


def backend() -> Programmer:
    """The one that an agent uses without being told; for the network namespace of the calling thread."""
    return open_backend()


def encoded(batch: Batch) -> int:
    """Make of a batch what that backend hands on; how many octets."""
    return len(encode(batch).datagram(0))


class Recorder:
    """A Programmer that remembers what went through it: batches, when the first began (monotonic), and the seconds of all."""

    def __init__(self, programmer: Programmer) -> None:
        self._programmer = programmer
        self.reset()

    def reset(self) -> None:
        self.batches: list[Batch] = []
        self.began, self.seconds = 0.0, 0.0

    async def commit(self, batch: Batch) -> None:
        started = time.monotonic()
        self.began = self.began or started
        self.batches.append(batch)
        await self._programmer.commit(batch)
        self.seconds += time.monotonic() - started

    async def read(self) -> Held | None:
        return await self._programmer.read()

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        return await self._programmer.holds(ruleset, generation)

    async def delete(self) -> None:
        await self._programmer.delete()


class Node:
    """``start`` first; then ``change`` as often as the world changes."""

    def __init__(self, current: ClusterState) -> None:
        self.state = current
        self.recorder = Recorder(backend())
        self._rules = LiveRules()
        self._plane = Dataplane(self.recorder)

    async def start(self) -> None:
        """The whole table, whatever was there."""
        await self._plane.apply(self._rules.start(self.state, node_view()))

    async def change(self, deltas: Sequence[Delta]) -> None:
        self.state = apply(self.state, deltas)
        step = self._rules.step(self.state, node_view(), deltas)
        if isinstance(step, Patch):
            await self._plane.patch(step, self._rules.wanted)
        else:
            await self._plane.apply(step)

    async def stop(self) -> None:
        """No table any more."""
        await self._plane.cleanup()
