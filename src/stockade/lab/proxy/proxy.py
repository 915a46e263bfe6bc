"""The Service proxy of a node: keeps the tables ``ip stockade-proxy`` and ``ip6 …`` in step with Services and EndpointSlices,
and with the host ports of the node's pods.

In: a Registry (watched) and a function that loads nft text. Out: rules in the kernel; ``synced`` once the first have been
loaded. Run by the lab's cluster as one task. It never touches the table of the policy agent.

    registry ─► Mirror ─► render (pure) ─► load: one transaction per burst of changes ─► forget UDP flows to lost endpoints
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.addresses import (
    LOAD_BALANCER_CIDR,
    LOAD_BALANCER_CIDR_6,
    SERVICE_CIDR,
    SERVICE_CIDR_6,
)
from stockade.lab.apiserver.registry import Registry
from stockade.lab.mirror import Mirror
from stockade.lab.proxy.conntrack import forget
from stockade.lab.proxy.healthcheck import HealthChecks
from stockade.lab.proxy.hostports import has_host_port, host_ports
from stockade.lab.proxy.render import TABLE, Affinities, Outward, render
from stockade.lab.proxy.targets import IPV4, IPV6, Door, Family, Target, cluster_ips, lost_flows, targets

SERVICES = "services"
SLICES = "endpointslices.discovery.k8s.io"
PODS = "pods"
_RETRY_SECONDS = 2.0
_RESYNC_SECONDS = 30.0  # as kube-proxy: what somebody else did to the tables does not last
_PAUSE_SECONDS = 0.03  # between two loads: a hundred pods that become ready are a few loads, not a hundred
_SHARE = 4  # at least so many times as long as making the rules took, so that ten thousand endpoints do not stop the lab

Forget = Callable[[Mapping[Door, frozenset[Door]]], int]
Recall = Callable[[str, str], Awaitable[Affinities]]
"""What a table (family, name) knows of the clients of sticky Services."""

_log = logging.getLogger(__name__)

_VIRTUAL = f"{{ {SERVICE_CIDR}, {LOAD_BALANCER_CIDR} }}"
_VIRTUAL_6 = f"{{ {SERVICE_CIDR_6}, {LOAD_BALANCER_CIDR_6} }}"
"""Where nothing lives but Services: what they do not translate is unreachable, and told so."""


class ServiceProxy:
    """One node's proxy. ``load`` is a door to nft; it raises when the kernel refuses the rules. ``forget``: see ``conntrack``."""

    def __init__(  # noqa: PLR0913 - what it is told of its node
        self,
        registry: Registry,
        load: Callable[[str], Awaitable[None]],
        node_addresses: Sequence[str] = (),
        *,
        node: str = "",
        forget: Forget = forget,
        recall: Recall | None = None,
        checks: HealthChecks | None = None,
        outward: Sequence[Outward] = (),
        resync: float = _RESYNC_SECONDS,
    ) -> None:
        self._resync = resync
        self._mirror = Mirror(registry, (SERVICES, SLICES, PODS), {PODS: has_host_port})
        self._node = node
        self._load = load
        self._forget = forget
        self._recall = recall
        self._checks = checks
        self._node_addresses = tuple(node_addresses)
        self._outward = {":" in each.address: each for each in outward}
        has_ipv6 = any(":" in address for address in node_addresses)
        self._families = ((IPV4, _VIRTUAL), *([(IPV6, _VIRTUAL_6)] if has_ipv6 else []))
        self._applied = ""
        self._targets: list[Target] = []
        self.synced = asyncio.Event()
        self.online = asyncio.Event()  # cleared while the node is cut off: the rules stay as they are
        self.online.set()

    async def run(self) -> None:
        """Until cancelled. The rules stay in the kernel afterwards."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._mirror.run(), name="service proxy mirror")
                group.create_task(self._keep(), name="service proxy")
                group.create_task(self._keep_in_step(), name="service proxy resync")
        finally:
            if self._checks is not None:
                self._checks.close()

    async def _keep(self) -> None:
        while True:
            await self._mirror.changed.wait()
            await self.online.wait()
            self._mirror.changed.clear()
            try:
                took = await self._program()
                await asyncio.sleep(max(_PAUSE_SECONDS, _SHARE * took))
            except Exception as error:  # noqa: BLE001  # whatever the door raises, the next try may succeed
                _log.warning("Services could not be programmed, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._mirror.changed.set()

    async def _keep_in_step(self) -> None:
        """Load everything again now and then, in one transaction that changes nothing where nothing was changed."""
        while True:
            await asyncio.sleep(self._resync)
            self._applied = ""
            self._mirror.changed.set()

    async def _program(self) -> float:
        """Seconds of work for making the rules; loading them is the work of another process."""
        started = time.thread_time()
        services, slices = list(self._mirror.objects(SERVICES)), list(self._mirror.objects(SLICES))
        text, complete, wanted = "", "", []
        for family, service_cidr in self._families:
            found = targets(services, slices, self._node_addresses, family, self._node)
            pods = self._mirror.objects(PODS)
            found += host_ports(pods, self._node, self._node_addresses, family)
            outward = self._outward.get(family is IPV6)
            virtual = cluster_ips(services, family)
            plain = render(found, virtual, service_cidr, family, outward)
            text += plain
            known = await self._clients(family, found) if text != self._applied else {}
            complete += render(found, virtual, service_cidr, family, outward, known) if known else plain
            wanted += found
        took = time.thread_time() - started
        if text != self._applied:
            await self._load(complete)
            self._applied = text
            lost, self._targets = lost_flows(self._targets, wanted), wanted
            self._end_flows(lost)
        if self._checks is not None:
            await self._checks.follow(services, wanted)
        self.synced.set()
        return took

    async def _clients(self, family: Family, wanted: Sequence[Target]) -> Affinities:
        """Of sticky Services: the table that is made anew shall know them. One that comes between this and the load is not remembered."""
        before = any(
            target.sticky and (":" in target.doors[0][0]) == (family is IPV6) for target in self._targets
        )
        if self._recall is None or not before or not any(target.sticky for target in wanted):
            return {}
        try:
            return await self._recall(family.name, TABLE)
        except ProgrammingError as error:  # somebody took the table away
            _log.warning("clients of sticky Services are forgotten: %s", error)
            return {}

    def _end_flows(self, lost: Mapping[Door, frozenset[Door]]) -> None:
        """The rules are right already: where this fails, a UDP client with a fixed port has to pause half a minute."""
        try:
            if lost:
                self._forget(lost)
        except (OSError, ProgrammingError) as error:
            _log.warning("UDP flows to endpoints that are gone could not be ended: %s", error)
