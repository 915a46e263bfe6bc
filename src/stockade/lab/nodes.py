"""One node of the lab, wired: its network namespace, kubelet, Service proxy and policy agent.

                 lab.cluster ── makes and runs ──► LabNode (one for each node)
      namespace: the lab's own for node 1, a new one for every other
        ├─ PodNetwork        pods' links and routes
        ├─ Kubelet           watches the registry, runs the pods bound to this node
        ├─ ServiceProxy ──► nft tables ip, ip6 stockade-proxy
        ├─ stockade agent ─► nft table inet stockade, over the API on this node's 127.0.0.1:6443
        └─ Lease             renewed while the node runs (kube-node-lease)
In: the node's plan and what all nodes share (``Shared``). Out: the node Ready in the registry, its pods reachable by ``access``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from stockade.agent.gate import GateClient
from stockade.dataplane.programmer import ProgrammingError
from stockade.lab import addresses, heartbeat
from stockade.lab.agents import AgentSupervisor
from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.service_accounts import ServiceAccountTokens
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.dns.feed import Feed, World
from stockade.lab.events import EventRecorder
from stockade.lab.images.catalog import Catalog
from stockade.lab.internet import NODE_LINK
from stockade.lab.node import netns
from stockade.lab.node.access import PodAccess
from stockade.lab.node.cgroups import Cgroups
from stockade.lab.node.kubelet import Kubelet
from stockade.lab.node.network import PodNetwork, is_ipv6
from stockade.lab.node.parts import NodeFacts
from stockade.lab.node.processes import NodeProcesses
from stockade.lab.node.spawner import Spawner
from stockade.lab.partition import HEAL, cut_text, is_paused
from stockade.lab.paths import LabPaths
from stockade.lab.proxy.conntrack import forget
from stockade.lab.proxy.healthcheck import HealthChecks
from stockade.lab.proxy.nft import NamespaceNft
from stockade.lab.proxy.proxy import ServiceProxy
from stockade.lab.proxy.render import ANTI_SPOOFING, Outward
from stockade.lab.topology import NodePlan

INSIDE_PORT = 6443  # the API on each node's own loopback, for its agent
POLL = 0.01  # seconds between looks while a node starts


class Shared(msgspec.Struct, frozen=True):
    """What all nodes of a lab have in common. ``names``: what the cluster's DNS knows. ``failed`` is told an agent's last words each time one ends."""

    paths: LabPaths
    store: ObjectStore
    spawner: Spawner
    images: Catalog
    names: World
    failed: Callable[[str], None]
    tokens: ServiceAccountTokens
    agent_options: Sequence[str] = ()
    cgroups: Cgroups | None = None


class LabNode:
    """Its network is there when it is made. ``start`` it, run its ``parts`` until the lab stops, then ``stop`` it."""

    def __init__(self, plan: NodePlan, shared: Shared) -> None:
        self.plan = plan
        self._shared = shared
        # The first node is where the daemon itself lives.
        self._network = PodNetwork() if plan.number == 1 else netns.inside_new(PodNetwork)
        self._network.prepare_node(*plan.addresses)
        self._nft = NamespaceNft(self._network.fd)
        self._gate = shared.paths.gate(plan.number)
        self._proxy = ServiceProxy(
            shared.store,
            self._nft.load,
            plan.addresses,
            node=plan.name,
            forget=lambda lost: netns.inside(self._network.fd, partial(forget, lost)),
            recall=self._nft.affinities,
            checks=HealthChecks(plan.addresses, partial(netns.open_socket, self._network.fd)),
            outward=self._outward(),
        )
        self._dns = Feed(shared.names)
        self._processes = NodeProcesses(shared.spawner)
        self._kubelet = self._make_kubelet()
        self._online = asyncio.Event()
        self._online.set()
        self._is_cut = self._is_paused = False
        self._waking: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def netns(self) -> int:
        return self._network.fd

    @property
    def access(self) -> PodAccess:
        return self._kubelet.runtime

    def listener(self) -> socket.socket:
        """For the API server: 127.0.0.1 of this node."""
        return netns.inside(self._network.fd, lambda: socket.create_server(("127.0.0.1", INSIDE_PORT)))

    def _outward(self) -> list[Outward]:
        pairs = zip(self.plan.addresses, self.plan.pod_cidrs, strict=True)
        return [Outward(NODE_LINK, address, cidr) for address, cidr in pairs]

    def _make_kubelet(self) -> Kubelet:
        shared, plan = self._shared, self.plan
        facts = NodeFacts(
            name=plan.name,
            addresses=plan.addresses,
            cluster_dns=addresses.DNS_SERVICE_IP,
            directory=shared.paths.pods,
        )
        return Kubelet(
            shared.store,
            self._processes,
            self._network,
            shared.images,
            EventRecorder(shared.store, "kubelet", plan.name),
            GateClient(self._gate),
            shared.tokens,
            facts=facts,
            pod_cidrs=plan.pod_cidrs,
            feeds={"dns": self._dns.attach},
            cgroups=shared.cgroups,
        )

    async def start(self) -> None:
        if any(map(is_ipv6, self.plan.addresses)):
            try:
                await self._nft.load(ANTI_SPOOFING)
            except ProgrammingError as error:
                text = f"the kernel cannot hold pods to their IPv6 addresses ({error}); use --ip-family ipv4"
                raise RuntimeError(text) from error
        if is_paused(self._shared.store.find("nodes", "", self.name)):  # and was when the lab crashed
            await self.pause()
        await self._kubelet.start()

    async def stop(self) -> None:
        self._processes.release()
        await self._kubelet.stop()

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """To be run side by side until the lab stops."""
        shared = self._shared
        agent = AgentSupervisor(
            self._processes,
            shared.paths,
            node=self.plan,
            netns=self._network.fd,
            report=shared.failed,
            options=shared.agent_options,
        )
        return [agent.run(), self._proxy.run(), heartbeat.run(shared.store, self.name, self._online)]

    async def ready(self) -> None:
        """When its agent serves its gate and its Services are programmed."""
        while not self._gate.exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(POLL)
        await self._proxy.synced.wait()

    def admit(self) -> None:
        """The Node object says that it is Ready from now on."""
        with contextlib.suppress(ApiError):
            heartbeat.mark_ready(self._shared.store, self.name)

    async def cut(self) -> None:
        """Off the network, as far as packets, the API and the other parts of the lab go. What runs, runs on."""
        await self._nft.load(cut_text(NODE_LINK, INSIDE_PORT))
        self._is_cut = True
        self._connect()

    async def heal(self) -> None:
        await self._nft.load(HEAL)
        self._is_cut = False
        self._connect()

    async def pause(self) -> None:
        """A machine that stands still, but for its kernel, which forwards and filters by the rules that it has."""
        self._processes.freeze()
        self._is_paused = True
        self._connect()

    async def resume(self) -> None:
        self._processes.thaw()
        self._is_paused = False
        self._connect()

    def _connect(self) -> None:
        """The node's parts hear of the API as long as it is neither cut off nor paused."""
        online = not (self._is_cut or self._is_paused)
        if online == self._online.is_set():
            return
        self._dns.online = online
        if not online:
            self._online.clear()
            self._proxy.online.clear()
            self._kubelet.cut()
            return
        self._online.set()
        self._proxy.online.set()
        self._kubelet.heal()
        with contextlib.suppress(ApiError):  # somebody deleted the Node
            heartbeat.renew(self._shared.store, self.name)
        self._waking = asyncio.create_task(self._wake())  # at once, unless its agent has yet to start

    async def _wake(self) -> None:
        await self.ready()
        if self._online.is_set():
            self.admit()
