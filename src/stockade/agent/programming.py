"""The loop that brings the kernel to the newest state of the cluster, and the waiting when the kernel refuses.

    World ──take──► state, deltas ──LiveRules──► patch or rules ──Dataplane──► kernel ──► publish (gate), Account
                      ▲                                               │
                      └── again after a pause, or when the world changes ◄── refused: Faults (Event, /readyz, metrics)

In: the World, a Dataplane that tries once. Out: rules in the kernel; what is programmed, for the gate, the drop log and status.
Called by ``agent.node``. A refused change leaves the old rules in force and new pods fenced; it is seen after the first attempt, tried again
after 0.5 s, doubled up to 30 s, and at once when the rules' part of the world changes, but so that attempts take a fifth of the time at most:
neither a kernel that refuses for an hour nor a cluster that changes all the time may make this loop a hot one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping

import msgspec

from stockade.agent.account import Account
from stockade.agent.faults import Faults, Work
from stockade.agent.flows import Tenancy
from stockade.agent.gate import ProgrammedPod
from stockade.agent.programmed import ProgrammedPods, Recent, node_view
from stockade.agent.world import World
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.patch import Patch
from stockade.dataplane.plane import Applied, Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.dataplane.settings import Options
from stockade.kube.backoff import Clock
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Block
from stockade.store.delta import Delete, Delta, Upsert, apply
from stockade.store.state import PODS, ClusterState

log = logging.getLogger(__name__)

AT_ONCE = 0.1  # seconds: attempts that fail are never closer together
SHARE = 4  # a failed attempt that took a second is followed by so many seconds of peace, unless its pause is shorter

Publish = Callable[[Mapping[ObjectRef, ProgrammedPod]], None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Which node's rules are made, and how. ``pod_cidrs`` win over the Node object's. ``keep_flows``: as the Dataplane was told."""

    node: str
    pod_cidrs: tuple[Block, ...] = ()
    options: Options = Options()
    keep_flows: bool = False


class _Refused(msgspec.Struct, frozen=True):
    """``state`` could not be programmed. Monotonic seconds: ``again`` for the same state, ``changed`` for another."""

    state: ClusterState
    again: float
    changed: float


class Programming:
    """``run`` as a task."""

    def __init__(
        self,
        target: Target,
        world: World,
        dataplane: Dataplane,
        *,
        account: Account,
        faults: Faults,
        publish: Publish,
        clock: Clock,
    ) -> None:
        self.programmed: ClusterState | None = None
        self.recent = Recent()
        self._target = target
        self._world = world
        self._dataplane = dataplane
        self._account = account
        self._faults = faults
        self._publish = publish
        self._clock = clock
        self._refused: _Refused | None = None
        self._again = False
        self._live = LiveRules(target.options)
        self._tenancy = Tenancy(target.node)

    def again(self) -> None:
        """Nobody knows what the kernel holds: program the state once more, though it has not changed."""
        self._again = True
        self._world.changed.set()

    async def run(self) -> None:
        while True:
            state = self._world.take()
            wait = self._wait(state)
            if wait > 0:
                await self._pause(wait)
            else:
                await self._attempt(state)

    def _wait(self, state: ClusterState) -> float:
        """Seconds until ``state`` may be programmed; for ever when it is already."""
        if self.programmed is not None and not self._again and same_rules(state, self.programmed):
            self._refused = None
            self._world.settled()
            return math.inf
        if self._refused is None:
            return 0.0
        same = same_rules(state, self._refused.state)
        return (self._refused.again if same else self._refused.changed) - self._clock.monotonic()

    async def _pause(self, seconds: float) -> None:
        """Or until the world changes."""
        changed = asyncio.ensure_future(self._world.changed.wait())
        over = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({changed, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            over.cancel()

    async def _sleep(self, seconds: float) -> None:
        if math.isinf(seconds):
            await asyncio.Event().wait()
        await self._clock.sleep(seconds)

    async def _attempt(self, state: ClusterState) -> None:
        started = self._clock.monotonic()
        try:
            await self._program(state)
        except ProgrammingError as error:
            self._failed(state, str(error), started)
        except Exception as error:
            # A state that the compiler cannot take must not end the agent: the next state may be fine.
            log.exception("rules could not be made from the cluster's state")
            self._failed(state, f"{type(error).__name__}: {error}", started)
        else:
            self._refused, self._again = None, False
            self._faults.works(Work.PROGRAMMING)

    def _failed(self, state: ClusterState, error: str, started: float) -> None:
        self._again = True  # also for the state before this one, should it come back
        now = self._clock.monotonic()
        delay = self._faults.failed(Work.PROGRAMMING, error)
        self._refused = _Refused(state, now + delay, now + min(delay, max(AT_ONCE, SHARE * (now - started))))

    async def _program(self, state: ClusterState) -> None:
        started = time.monotonic()
        deltas = self._world.deltas()
        applied = await (
            self._pass_on(state, deltas) if self._target.keep_flows else self._step(state, deltas)
        )
        self._succeeded(state, applied, time.monotonic() - started)

    async def _step(self, state: ClusterState, deltas: list[Delta]) -> Applied:
        node = node_view(state, self._target.node, self._target.pod_cidrs)
        step = await asyncio.to_thread(self._live.step, state, node, deltas)
        profiles = None if isinstance(step, Patch) else self._live.profiles
        # Known before it is in force: the first packet it denies is logged before apply() returns.
        with self.recent.upcoming(state, profiles):
            if not isinstance(step, Patch):
                return await self._dataplane.apply(step)
            if self._again:  # what this patch builds upon may not be in force
                return await self._dataplane.apply(self._live.wanted())
            return await self._dataplane.patch(step, self._live.wanted)

    async def _pass_on(self, state: ClusterState, deltas: list[Delta]) -> Applied:
        """Live flows are kept: those of an address are forgotten while it is nobody's, before its next pod is programmed. (The data
        plane does that for this node's own addresses when they leave its rules.)"""
        left = self._tenancy.left(state)
        heirs = sorted(self._tenancy.heirs(state, left))
        if heirs:
            deletes = [Delete(PODS, ref) for ref in heirs]
            await self._step(apply(state, deletes), [*deltas, *deletes])
            await self._dataplane.forget(left.far)
            deltas = [Upsert(PODS, state.pods[ref]) for ref in heirs]
        applied = await self._step(state, deltas)
        if not heirs:
            await self._dataplane.forget(left.far)
        self._tenancy.settle(state)
        return applied

    def _succeeded(self, state: ClusterState, applied: Applied, took: float) -> None:
        self.programmed = state
        pods = ProgrammedPods(dict(self._live.local))
        self._publish(pods)
        latency = self._world.settled()
        account = self._account
        account.pods = len(pods)
        account.last_success = time.time()
        account.world = _sizes(state)
        if applied.refused:
            self._faults.failures[Work.PROGRAMMING] += 1
        if not applied.changed:
            return
        account.programmed(took, latency, full=applied.full, bumped=applied.bumped)
        log.log(
            logging.INFO if applied.full or applied.bumped else logging.DEBUG,
            "programmed %d pods in %.1f ms%s%s",
            len(pods),
            took * 1000,
            ", whole table" if applied.full else "",
            ", stricter: known connections are judged again" if applied.bumped else "",
        )


def same_rules(one: ClusterState, other: ClusterState) -> bool:
    """Tables that did not change are shared between states (``store.delta``), so this looks at no object."""
    return (
        one.pods is other.pods
        and one.policies is other.policies
        and one.namespaces is other.namespaces
        and one.nodes is other.nodes
    )


def _sizes(state: ClusterState) -> dict[str, int]:
    return {
        "namespaces": len(state.namespaces),
        "networkpolicies": len(state.policies),
        "nodes": len(state.nodes),
        "pods": len(state.pods),
        "services": len(state.services),
    }
