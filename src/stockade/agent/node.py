"""The node agent: everything wired together. One process, one event loop; all lasting state is in the kernel.

       Kubernetes API                                                                   kernel of this node
    namespaces ─┐
    nodes ──────┤                       compile_state       lower         apply
    pods ───────┼─► Reflector ─► World ───────────────► ────────────► ──────────────► table inet stockade
    services ───┤                  │   ClusterState   Compiled-     Ruleset  (Dataplane)      │        │
    networkpol.─┘                  │                  Policies         │                      │        │
                                   │                     └──────► GateServer ◄─ kubelet       │        │
       events ◄─── EventRecorder ◄─┴─ attribute ◄──────────────────────────────── NFLOG ──────┘        │
                        ▲                                                                              │
                        └── programming failed          verify, repair ◄── timer ──────────────────────┘

In: NodeSettings, an ApiClient, a Dataplane. Called by ``cli.agent``. Rules 47-58 of the reference.
Order: nothing is programmed before every reflector that rules depend on has synced (a half-known world would deny or allow at random); the rules that a
predecessor left stay in force until then, and the fence holds back new pods. A failed change leaves the old rules in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from stockade.agent.attribution import View
from stockade.agent.drops import LOG_FAILED, Drops
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.gate import GateServer, ProgrammedPod
from stockade.agent.metrics import Counters, Health, ReflectorCounts
from stockade.agent.programmed import Recent, node_view, programmed_pods
from stockade.agent.world import World
from stockade.dataplane.droplog import DropLog
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.kube.backoff import Backoff, Clock, SystemClock
from stockade.kube.client import ApiClient
from stockade.kube.reflector import Pace, Reflector
from stockade.kube.resources import NAMESPACES, NETWORK_POLICIES, NODES, PODS, SERVICES
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Block
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.store.state import ClusterState

log = logging.getLogger(__name__)

RULES_NEED = (NAMESPACES, NODES, PODS, NETWORK_POLICIES)
FOLLOWED = (*RULES_NEED, SERVICES)  # Services only name a denied peer: without them we enforce all the same
PROGRAMMING_FAILED = "NetworkPolicyProgrammingFailed"


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``pod_cidrs``: the fenced blocks; without them the Node object's podCIDRs. ``gate``: the socket's path or empty."""

    node: str
    gate: str = ""
    pod_cidrs: tuple[Block, ...] = ()
    options: Options = Options()
    verify_seconds: float = 10.0


class NodeAgent:
    """``run`` until cancelled. ``view`` is what drop attribution reads."""

    def __init__(
        self,
        settings: NodeSettings,
        api: ApiClient,
        dataplane: Dataplane,
        *,
        recorder: EventRecorder | None = None,
        open_log: Callable[[], DropLog] | None = None,
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.counters = Counters()
        self.world = World()
        self.recorder = recorder or EventRecorder(api, settings.node)
        self.gate = GateServer(settings.gate) if settings.gate else None
        self._settings = settings
        self._dataplane = dataplane
        self._clock = clock or SystemClock()
        self._backoff = Backoff(self._clock, first=0.5, longest=30.0)
        self._reflectors = [
            Reflector(api, kind, self.world, pace=pace, clock=self._clock) for kind in FOLLOWED
        ]
        self._needed = [each for each in self._reflectors if each.resource in RULES_NEED]
        self._programmed: ClusterState | None = None
        self._recent = Recent()
        self._open_log = open_log

    async def run(self) -> None:
        """Raises GateError when the gate cannot be served. Leaving it leaves the rules in force."""
        async with self._gate(), asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"reflector {reflector.resource}")
            group.create_task(self.recorder.run(), name="events")
            group.create_task(self._keep_programmed(), name="programming")
            group.create_task(self._keep_verified(), name="verifying")
            if self._open_log is not None:
                drops = Drops(
                    self._open_log, lambda: self.view, self.recorder, self.counters, self._clock, self._deaf
                )
                group.create_task(drops.run(), name="drops")

    @contextlib.asynccontextmanager
    async def _gate(self) -> AsyncIterator[None]:
        if self.gate is None:
            yield
            return
        await self.gate.start()
        try:
            yield
        finally:
            await self.gate.stop()

    # -- programming

    async def _keep_programmed(self) -> None:
        await asyncio.gather(*(reflector.synced.wait() for reflector in self._needed))
        self.counters.synced = True
        while True:
            state = self.world.take()
            if self._programmed is not None and _same_rules(state, self._programmed):
                await self.world.changed.wait()
                continue
            try:
                await self._program(state)
            except ProgrammingError as error:
                await self._after_failure(state, str(error))
            except Exception as error:
                # A state that the compiler cannot take must not end the agent: the next state may be fine.
                log.exception("rules could not be made from the cluster's state")
                await self._after_failure(state, f"{type(error).__name__}: {error}")

    async def _program(self, state: ClusterState) -> None:
        started = time.monotonic()
        node = node_view(state, self._settings.node, self._settings.pod_cidrs)
        compiled, wanted = await asyncio.to_thread(_build, state, node, self._settings.options)
        # Known before it is in force: the first packet it denies is logged before apply() returns.
        with self._recent.upcoming(state, compiled):
            applied = await self._dataplane.apply(wanted)
        took = time.monotonic() - started
        self._programmed = state
        pods = programmed_pods(compiled, self._settings.node)
        if self.gate is not None:
            self.gate.publish(pods)
        self._count(pods, took, changed=applied.changed)
        if applied.changed:
            log.log(
                logging.INFO if applied.full or applied.bumped else logging.DEBUG,
                "programmed %d pods in %.1f ms%s%s",
                len(pods),
                took * 1000,
                ", whole table" if applied.full else "",
                ", stricter: known connections are judged again" if applied.bumped else "",
            )

    def _count(self, pods: dict[ObjectRef, ProgrammedPod], took: float, *, changed: bool) -> None:
        counters = self.counters
        counters.programmed += changed
        counters.program_seconds += took
        counters.last_program_seconds = took
        counters.pods = len(pods)
        if counters.failing:
            log.info("programming works again")
        counters.failing = ""

    async def _after_failure(self, state: ClusterState, error: str) -> None:
        """The old rules are in force. Try again after a while, or as soon as the world changes."""
        self.counters.program_failures += 1
        self.counters.failing = error
        delay = self._backoff.next()
        log.error("rules not changed (the old ones stay in force), trying again in %.1fs: %s", delay, error)
        node = state.nodes.get(self._settings.node)
        uid = node.metadata.uid if node else ""
        subject = Subject("Node", "", self._settings.node, uid or self._settings.node)
        self.recorder.record(Occurrence(subject, PROGRAMMING_FAILED, error))
        changed = asyncio.ensure_future(self.world.changed.wait())
        pause = asyncio.ensure_future(self._clock.sleep(delay))
        try:
            await asyncio.wait({changed, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            pause.cancel()

    def _deaf(self, why: str) -> None:
        """The drop log cannot be read; ``stockade drops`` tells whoever asks."""
        node = self.world.current.nodes.get(self._settings.node)
        subject = Subject("Node", "", self._settings.node, node.metadata.uid if node else self._settings.node)
        self.recorder.record(Occurrence(subject, LOG_FAILED, why, topic=LOG_FAILED))

    async def _keep_verified(self) -> None:
        while True:
            await self._clock.sleep(self._settings.verify_seconds)
            try:
                intact = await self._dataplane.verify()
            except ProgrammingError as error:
                log.error("cannot verify the rules in the kernel: %s", error)  # noqa: TRY400 - nft's text says it all
                continue
            if not intact:
                self.counters.repairs += 1
                log.warning("the table inet stockade was changed by somebody else; repaired")

    # -- read by drops, health and metrics

    @property
    def view(self) -> View | None:
        """None until the first rules are on their way to the kernel."""
        recent = self._recent
        if recent.state is None:
            return None
        return View(self.world.current, recent.state, recent.profiles, self._settings.node)

    def health(self) -> Health:
        if not self.counters.synced:
            waiting = [str(r.resource) for r in self._needed if not r.synced.is_set()]
            why = "; ".join(sorted(set(self.world.troubles.values())))
            return Health(
                ready_problem=f"waiting for the first list of {', '.join(waiting)}{why and ': '}{why}"
            )
        if self._programmed is None or self.counters.failing:
            return Health(ready_problem=self.counters.failing or "first programming under way")
        return Health()

    def reflector_counts(self) -> list[ReflectorCounts]:
        return [
            ReflectorCounts(
                str(r.resource), r.stats.replaces, r.stats.watches, r.stats.events, r.stats.errors
            )
            for r in self._reflectors
        ]


def _same_rules(one: ClusterState, other: ClusterState) -> bool:
    """Tables that did not change are shared between states (``store.delta``), so this looks at no object."""
    return (
        one.pods is other.pods
        and one.policies is other.policies
        and one.namespaces is other.namespaces
        and one.nodes is other.nodes
    )


def _build(state: ClusterState, node: NodeView, options: Options) -> tuple[CompiledPolicies, Ruleset]:
    compiled = compile_state(state)
    return compiled, lower(compiled, node, options)
