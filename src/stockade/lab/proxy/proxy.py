"""The Service proxy of the node: keeps table ``ip stockade-proxy`` in step with Services and EndpointSlices.

In: a Registry (watched) and a function that loads nft text. Out: rules in the kernel; ``synced`` once the first have been
loaded. Run by the lab's cluster as one task. It never touches the table of the policy agent.

    registry ─► Mirror ─► render (pure) ─► load: one transaction per burst of changes ─► forget UDP flows to lost endpoints
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.addresses import SERVICE_CIDR
from stockade.lab.apiserver.registry import Registry
from stockade.lab.mirror import Mirror
from stockade.lab.proxy.conntrack import forget
from stockade.lab.proxy.render import Door, Target, cluster_ips, lost_flows, render, targets

SERVICES = "services"
SLICES = "endpointslices.discovery.k8s.io"
_RETRY_SECONDS = 2.0
_PAUSE_SECONDS = 0.03  # between two loads: a hundred pods that become ready are a few loads, not a hundred

_log = logging.getLogger(__name__)


class ServiceProxy:
    """One node's proxy. ``load`` is a door to nft (``Nft().load``); it raises when the kernel refuses the rules."""

    def __init__(
        self,
        registry: Registry,
        load: Callable[[str], Awaitable[None]],
        node_addresses: Sequence[str] = (),
        service_cidr: str = SERVICE_CIDR,
    ) -> None:
        self._mirror = Mirror(registry, (SERVICES, SLICES))
        self._load = load
        self._node_addresses = tuple(node_addresses)
        self._service_cidr = service_cidr
        self._applied = ""
        self._targets: list[Target] = []
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. The rules stay in the kernel afterwards."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run(), name="service proxy mirror")
            group.create_task(self._keep(), name="service proxy")

    async def _keep(self) -> None:
        while True:
            await self._mirror.changed.wait()
            self._mirror.changed.clear()
            try:
                await self._program()
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # whatever the door raises, the next try may succeed
                _log.warning("Services could not be programmed, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._mirror.changed.set()

    async def _program(self) -> None:
        services = list(self._mirror.objects(SERVICES))
        wanted = targets(services, self._mirror.objects(SLICES), self._node_addresses)
        text = render(wanted, cluster_ips(services), self._service_cidr)
        if text != self._applied:
            await self._load(text)
            self._applied = text
            lost, self._targets = lost_flows(self._targets, wanted), wanted
            _end_flows(lost)
        self.synced.set()


def _end_flows(lost: Mapping[Door, frozenset[Door]]) -> None:
    """The rules are right already: where this fails, a UDP client with a fixed port has to pause half a minute."""
    try:
        if lost:
            forget(lost)
    except (OSError, ProgrammingError) as error:
        _log.warning("UDP flows to endpoints that are gone could not be ended: %s", error)
