"""The agent's programming loop by itself: between a World that a test fills and a programmer that a test chooses, under a virtual clock.

In: a Programmer, usually a FailingProgrammer. Out: everything that the loop writes to, to be looked at. Used by tests of ``agent.programming``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from stockade.agent.account import Account
from stockade.agent.events import EventRecorder, Occurrence
from stockade.agent.faults import Faults, NodeEvents
from stockade.agent.programming import Programming, Target
from stockade.agent.world import World
from stockade.dataplane.plane import Dataplane, Forget
from stockade.dataplane.programmer import Programmer
from stockade.kube.resources import NETWORK_POLICIES, NODES, PODS
from stockade.model.meta import ObjectMeta
from stockade.model.objects import Node, NodeSpec, Pod
from stockade.testing.build import pod, policy
from stockade.testing.clock import VirtualClock, settle

NODE = "node-1"
P = TypeVar("P", bound=Programmer)


class Recorder(EventRecorder):
    """Keeps what it is told, and tells nobody."""

    def __init__(self) -> None:
        self.recorded: list[Occurrence] = []

    def record(self, occurrence: Occurrence, count: int = 1) -> None:
        self.recorded.extend([occurrence] * count)


class Setting(Generic[P]):
    """``async with``: the loop runs. ``published``: who the gate lets start, each time it was told."""

    def __init__(self, programmer: P, *, keep: bool = False, forget: Forget | None = None) -> None:
        self.programmer = programmer
        self.clock = VirtualClock()
        self.world = World(self.clock.monotonic)
        self.account = Account()
        self.recorder = Recorder()
        self.faults = Faults(NodeEvents(self.recorder, NODE, str), self.clock.monotonic)
        self.published: list[list[str]] = []
        self.plane = Dataplane(programmer, generation=1, forget=forget)
        self.programming = Programming(
            Target(node=NODE, keep_flows=keep),
            self.world,
            self.plane,
            account=self.account,
            faults=self.faults,
            publish=lambda pods: self.published.append(sorted(map(str, pods))),
            clock=self.clock,
        )
        node = Node(metadata=ObjectMeta(name=NODE, uid="node-uid"), spec=NodeSpec(pod_cidr="10.244.0.0/24"))
        self.world.upsert(NODES, node)

    def pod(self, name: str, address: str, app: str = "a", uid: str = "") -> None:
        """Added or changed, on this node."""
        made = pod(name, {"app": app}, address, on=NODE)
        self.world.upsert(PODS, with_uid(made, uid or f"uid-{name}"))

    def policy(self, name: str, spec: Mapping[str, Any]) -> None:
        self.world.upsert(NETWORK_POLICIES, policy(name, spec))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.programming.run())
        await settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


def with_uid(made: Pod, uid: str) -> Pod:
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, uid=uid))
