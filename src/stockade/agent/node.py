"""The node agent: everything wired together. One process, one event loop; all lasting state is in the kernel.

       Kubernetes API                                                                   kernel of this node
    namespaces ─┐
    nodes ──────┤                       compile_state       lower         apply
    pods ───────┼─► Reflector ─► World ───────────────► ────────────► ──────────────► table inet stockade
    services ───┤                  │   ClusterState   Compiled-     Ruleset  (Dataplane)   │    │    │
    networkpol.─┘                  │                  Policies         │         ▲         │    │    │
                                   │             (Programming)         │         │ verify  │    │    │ changed
                                   │                     └──► GateServer ◄─┐   Guard ◄─────┼────┼────┘ by others
       events ◄─── EventRecorder ◄─┴─ attribute ◄────────────────── kubelet┘ ────┼──── NFLOG    │
                        ▲                                                        │              │
                        └──── Faults: programming or verifying failed ◄──────────┴──────────────┘

In: NodeSettings, an ApiClient, the Doors to the kernel. Called by ``cli.agent``. Rules 47-58 of the reference.
Order: nothing is programmed before every reflector that rules depend on has synced (a half-known world would deny or allow at random); the rules that a
predecessor left stay in force until then, and the fence holds back new pods. A failed change leaves the old rules in force.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from stockade.agent import account, faults
from stockade.agent.account import Account
from stockade.agent.attribution import View
from stockade.agent.drops import LOG_FAILED, Drops
from stockade.agent.events import EventRecorder
from stockade.agent.faults import Faults, NodeEvents
from stockade.agent.gate import GateServer, ProgrammedPod
from stockade.agent.guard import Guard, Watch
from stockade.agent.metrics import Counters, Health, ReflectorCounts, render
from stockade.agent.policy_counters import PolicyCounters, ReadCounters
from stockade.agent.programming import Programming, Target
from stockade.agent.status import AgentStatus, Trouble
from stockade.agent.world import World
from stockade.dataplane.droplog import DropLog
from stockade.dataplane.plane import Dataplane
from stockade.kube.backoff import Clock, SystemClock
from stockade.kube.client import ApiClient
from stockade.kube.reflector import Reflector
from stockade.kube.resources import NAMESPACES, NETWORK_POLICIES, NODES, PODS, SERVICES
from stockade.model.meta import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

RULES_NEED = (NAMESPACES, NODES, PODS, NETWORK_POLICIES)
FOLLOWED = (*RULES_NEED, SERVICES)  # Services only name a denied peer: without them we enforce all the same


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``gate``: the socket's path or empty. ``verify_seconds`` None: as often as the guard finds right."""

    target: Target
    gate: str = ""
    verify_seconds: float | None = None


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """To the kernel; see ``agent.kernel``. Only the first must be there. ``name``: how it is programmed, in words, for status."""

    dataplane: Dataplane
    name: str = ""
    watch: Watch | None = None
    open_log: Callable[[], DropLog] | None = None
    read_counters: ReadCounters | None = None


class NodeAgent:
    """``run`` until cancelled. ``view`` is what drop attribution reads."""

    def __init__(
        self,
        settings: NodeSettings,
        api: ApiClient,
        doors: Doors,
        *,
        recorder: EventRecorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        node = settings.target.node
        self.counters = Counters()
        self.account = Account()
        self.world = World()
        self.recorder = recorder or EventRecorder(api, node)
        self.gate = GateServer(settings.gate) if settings.gate else None
        self._settings = settings
        self._clock = clock
        self._doors = doors
        self._reflectors = [Reflector(api, kind, self.world, clock=clock) for kind in FOLLOWED]
        self._needed = [each for each in self._reflectors if each.resource in RULES_NEED]
        self.faults = Faults(NodeEvents(self.recorder, node, self._node_uid))
        self.programming = Programming(
            settings.target,
            self.world,
            doors.dataplane,
            account=self.account,
            faults=self.faults,
            publish=self._publish,
            clock=clock,
        )
        self._policies = doors.read_counters and PolicyCounters(
            doors.read_counters, lambda: doors.dataplane.applied, lambda: self.programming.recent.profiles
        )
        self._guard = Guard(
            doors.dataplane,
            account=self.account,
            faults=self.faults,
            distrust=self.programming.again,
            clock=clock,
            watch=doors.watch,
            every=settings.verify_seconds,
        )

    async def run(self) -> None:
        """Raises GateError when the gate cannot be served. Leaving it leaves the rules in force."""
        async with self._gate(), asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"reflector {reflector.resource}")
            group.create_task(self.recorder.run(), name="events")
            group.create_task(self._keep_programmed(), name="programming")
            group.create_task(self._guard.run(), name="guard")
            open_log = self._doors.open_log
            if open_log is not None:
                drops = Drops(
                    open_log, lambda: self.view, self.recorder, self.counters, self._clock, self._deaf
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

    async def _keep_programmed(self) -> None:
        await asyncio.gather(*(reflector.synced.wait() for reflector in self._needed))
        self.account.synced = True
        await self.programming.run()

    def _publish(self, pods: Mapping[ObjectRef, ProgrammedPod]) -> None:
        if self.gate is not None:
            self.gate.publish(pods)

    def _node_uid(self) -> str:
        node = self.world.current.nodes.get(self._settings.target.node)
        return node.metadata.uid if node else ""

    def _deaf(self, why: str) -> None:
        """The drop log cannot be read; ``stockade drops`` tells whoever asks."""
        self.faults.events.warn(LOG_FAILED, why, LOG_FAILED)

    # -- read by drops, health and metrics

    @property
    def view(self) -> View | None:
        """None until the first rules are on their way to the kernel."""
        recent = self.programming.recent
        if recent.state is None:
            return None
        return View(self.world.current, recent.state, recent.profiles, self._settings.target.node)

    def health(self) -> Health:
        if not self.account.synced:
            waiting = [str(r.resource) for r in self._needed if not r.synced.is_set()]
            why = "; ".join(sorted(set(self.world.troubles.values())))
            return Health(
                ready_problem=f"waiting for the first list of {', '.join(waiting)}{why and ': '}{why}"
            )
        problem = faults.problem(self.faults.current)
        if not problem and self.programming.programmed is None:
            problem = "first programming under way"
        return Health(ready_problem=problem)

    def status(self) -> AgentStatus:
        account = self.account
        return AgentStatus(
            node=self._settings.target.node,
            ready_problem=self.health().ready_problem,
            troubles=[
                Trouble(each.work.name.lower(), each.error, each.since, each.attempts)
                for each in self.faults.current
            ],
            pods=account.pods,
            world=account.world,
            backend=self._doors.name,
            watching=account.watching,
            repairs=account.repairs,
            failures=sum(self.faults.failures.values()),
            last_success=account.last_success,
            last_seconds=account.last_seconds,
        )

    async def metrics(self) -> bytes:
        """Prometheus' text format."""
        if self._policies is not None:
            await self._policies.refresh()
        return render(self.counters, self.reflector_counts(), self._families, self._policy_families)

    def _policy_families(self) -> Iterator[Metric]:
        return iter(()) if self._policies is None else self._policies.families()

    def _families(self) -> Iterator[Metric]:
        return account.families(self.account, self.faults.failures, self.faults.current)

    def reflector_counts(self) -> list[ReflectorCounts]:
        return [
            ReflectorCounts(
                str(r.resource), r.stats.replaces, r.stats.watches, r.stats.events, r.stats.errors
            )
            for r in self._reflectors
        ]
