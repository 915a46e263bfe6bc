"""One node's rules, driven as the agent drives them: LiveRules, patches or whole rulesets, a Dataplane; but the news comes as a test wants it.

In: ClusterStates. Out: rules in the kernel of a network namespace. On the way from one state to the next the deltas come in any order, in pieces and
repeated; the agent may be replaced, and its programmer may fail (``Unreliable``). Called by ``witnesses``, ``swaps`` and the property tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.lower import NodeView
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nft import Nft
from stockade.dataplane.operations import Batch
from stockade.dataplane.patch import Patch
from stockade.dataplane.plane import Applied, Dataplane
from stockade.dataplane.programmer import Held, InterferenceError, Programmer, ProgrammingError
from stockade.store.delta import Delete, Delta, Upsert, apply
from stockade.store.state import FIELDS, ClusterState
from stockade.testing.namespaces import inside


def backend(name: str) -> Programmer:
    """``nft`` or ``netlink``, and no other if it does not work; of this thread's namespace."""
    return Netlink() if name == "netlink" else Nft()


class Unreliable:
    """A Programmer that refuses a batch, or applies it and says that it failed, every so often."""

    def __init__(self, programmer: Programmer, random: Random, share: float) -> None:
        self.failures = 0
        self.share = share
        self._programmer = programmer
        self._random = random

    async def commit(self, batch: Batch) -> None:
        self._fail()
        await self._programmer.commit(batch)
        self._fail()

    async def read(self) -> Held | None:
        self._fail()
        return await self._programmer.read()

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        return await self._programmer.holds(ruleset, generation)

    async def delete(self) -> None:
        await self._programmer.delete()

    def _fail(self) -> None:
        if self._random.random() < self.share:
            self.failures += 1
            raise self._random.choice([ProgrammingError, InterferenceError])("on purpose")


class Done(msgspec.Struct):
    """What was done to the rules. ``unsettled``: changes that failed for the time being."""

    changes: int = 0
    patches: int = 0
    bumps: int = 0
    whole: int = 0
    restarts: int = 0
    unsettled: int = 0


class DrivenNode:
    """``programmer`` makes one for each agent. ``settled``: the last change is in force."""

    def __init__(
        self, namespace: str, view: NodeView, programmer: Callable[[], Programmer], random: Random
    ) -> None:
        self.done = Done()
        self.settled = True
        self._namespace = namespace
        self._view = view
        self._programmer = programmer
        self._random = random
        self._state = ClusterState()
        self._start()

    @property
    def wanted(self) -> Ruleset:
        return self._live.wanted()

    def _start(self) -> None:
        with inside(self._namespace):
            self._plane, self._live = Dataplane(self._programmer()), LiveRules()
        self._started = False

    def restart(self) -> None:
        """Another agent, which finds the rules of this one."""
        self._start()
        self.done.restarts += 1

    def go_to(self, state: ClusterState, *, pieces: int = 1) -> None:
        """In so many steps at most; each may fail, and the next makes up for it."""
        deltas = list(between(self._state, state, self._random))
        size = max(1, -(-len(deltas) // pieces))
        parts = [deltas[at : at + size] for at in range(0, len(deltas), size)] or [[]]
        with inside(self._namespace):
            for part in parts:
                asyncio.run(self._step(part))

    def settle(self) -> None:
        """Try again until it is done; the caller has stopped the failures."""
        with inside(self._namespace):
            if not self.settled:
                asyncio.run(self._program(self._live.wanted()))

    async def _step(self, deltas: list[Delta]) -> None:
        self._state = apply(self._state, deltas)
        if self._started:
            found: Patch | Ruleset = self._live.step(self._state, self._view, deltas)
        else:
            found = self._live.start(self._state, self._view)
            self._started = True
        await self._program(found)

    async def _program(self, found: Patch | Ruleset) -> None:
        try:
            if isinstance(found, Ruleset):
                self._count(await self._plane.apply(found))
            else:
                self._count(await self._plane.patch(found, self._live.wanted))
                self.done.patches += not found.is_empty
        except ProgrammingError:
            self.done.unsettled += 1
            self.settled = False
        else:
            self.settled = True

    def _count(self, applied: Applied) -> None:
        self.done.changes += applied.changed
        self.done.bumps += applied.bumped
        self.done.whole += applied.full


def between(old: ClusterState, new: ClusterState, random: Random) -> Iterator[Delta]:
    """What leads from one to the other, in random order, some of it twice."""
    found: list[Delta] = []
    for kind, field in FIELDS.items():
        before, after = getattr(old, field), getattr(new, field)
        found += [Delete(kind, each.metadata.ref) for key, each in before.items() if key not in after]
        found += [Upsert(kind, each) for key, each in after.items() if before.get(key) != each]
    found += [each for each in found if random.random() < 0.1]
    random.shuffle(found)
    yield from found
