"""All pairs, all ports, with real packets: one exec of ``/agnhost connect`` for each, as the suites do.

In: the cluster, how a destination is called (by its Service's name or address, by its own address), how many execs at once. Out: what each
probe saw: "" connected, else agnhost's first word (TIMEOUT, REFUSED, DNS, OTHER). Called by ``run`` and ``bench/lab_matrix.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import product

import msgspec

from stockade.kube.errors import KubeError
from stockade.kube.exec import execute
from stockade.model.meta import ObjectRef
from stockade.testing.conformance.case import Name
from stockade.testing.conformance.cluster import Cluster, container_name, service_name

DESTINATIONS = ("service-name", "service-ip", "pod-ip")
AT_ONCE = 90
SECONDS = 1  # agnhost's --timeout
_WHOLE = 60.0  # of one exec, when all is slow


class Cell(msgspec.Struct, frozen=True, order=True):
    """One probe of the matrix."""

    source: Name
    destination: Name
    protocol: str
    port: int

    @property
    def probe(self) -> str:
        return f"{self.protocol} {self.port}"

    def __str__(self) -> str:
        return f"{'/'.join(self.source)} -> {'/'.join(self.destination)} {self.probe}"


Seen = dict[Cell, str]


def cells(cluster: Cluster, probes: Iterable[tuple[str, int]]) -> list[Cell]:
    """Also of a pod with itself: the suites probe those, too, and then leave them out of the comparison."""
    return [
        Cell(source, destination, protocol, port)
        for protocol, port in probes
        for source, destination in product(cluster.pods, repeat=2)
    ]


def place(cluster: Cluster, cell: Cell, destination_type: str) -> str:
    space, name = cell.destination
    host = {
        "service-name": f"{service_name(space, name)}.{space}.svc.cluster.local",
        "service-ip": cluster.services[space, name],
        "pod-ip": cluster.addresses[space, name],
    }[destination_type]
    return f"{host}:{cell.port}"


async def probe(
    cluster: Cluster, wanted: Iterable[Cell], destination_type: str, *, at_once: int = AT_ONCE
) -> Seen:
    """Never raises KubeError: an exec that cannot be made is seen as ``EXEC: …``, which no case expects."""
    slots = asyncio.Semaphore(at_once)

    async def one(cell: Cell) -> tuple[Cell, str]:
        where = place(cluster, cell, destination_type)
        command = (
            "/agnhost",
            "connect",
            where,
            f"--timeout={SECONDS}s",
            f"--protocol={cell.protocol.lower()}",
        )
        async with slots:
            try:
                done = await execute(
                    cluster.client,
                    ObjectRef(*cell.source),
                    container_name(*cluster.probes[0]),
                    command,
                    seconds=_WHOLE,
                )
            except (KubeError, TimeoutError) as error:
                return cell, f"EXEC: {error}"
        if done.code == 0:
            return cell, ""
        word = done.output.split(":")[0].strip()
        return cell, word or f"exit status {done.code} without a word"

    return dict(await asyncio.gather(*(one(cell) for cell in wanted)))
