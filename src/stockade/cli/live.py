"""``stockade test --live``: the connections that were judged, tried from inside their pods.

In: rows with their outcomes, the state they were judged on, an Access. Out: the rows with what was observed. Called by
``cli.test`` and the pytest plugin. Only TCP from pods is tried; a range by the first port of each part that was judged alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from stockade.analysis.ask import Case
from stockade.analysis.assertions import MIXED
from stockade.analysis.backends import node_address
from stockade.analysis.path import World
from stockade.analysis.target import NODE, POD, SERVICE, WORKLOAD, Target
from stockade.analysis.workloads import pods_of
from stockade.kube.client import ApiClient
from stockade.kube.config import Access
from stockade.kube.probe import CONNECT_SECONDS, UNKNOWN, Probe, probe
from stockade.model.meta import ObjectRef
from stockade.net.cidr import format_address
from stockade.report.outcomes import Row

AT_ONCE = 8
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class _Try(msgspec.Struct, frozen=True):
    pod: ObjectRef
    container: str
    host: str
    port: int


def observe(
    rows: Sequence[Row], world: World, access: Access, *, seconds: int = CONNECT_SECONDS
) -> list[Row]:
    """Raises KubeError when the cluster cannot be reached at all."""
    return asyncio.run(_observe(rows, world, access, seconds))


async def _observe(rows: Sequence[Row], world: World, access: Access, seconds: int) -> list[Row]:
    slots = asyncio.Semaphore(AT_ONCE)
    async with ApiClient(access) as client:

        async def one(each: _Try) -> Probe:
            async with slots:
                return await probe(client, each.pod, each.container, each.host, each.port, seconds=seconds)

        return list(await asyncio.gather(*(_row(row, world, one) for row in rows)))


async def _row(row: Row, world: World, one: Callable[[_Try], Awaitable[Probe]]) -> Row:
    tries: list[_Try] = []
    for case in row.outcome.answer.cases:
        found = list(_tries(case, world))
        if not found:
            return msgspec.structs.replace(row, seen="not tried: only TCP from a running pod is")
        tries += found
    probes = await asyncio.gather(*map(one, dict.fromkeys(tries)))
    kinds = {each.observed for each in probes}
    observed = UNKNOWN if UNKNOWN in kinds else kinds.pop() if len(kinds) == 1 else MIXED
    seen = "; ".join(dict.fromkeys(each.seen for each in probes if not observed or each.seen))
    return msgspec.structs.replace(row, observed=observed, seen=seen)


def _tries(case: Case, world: World) -> Iterator[_Try]:
    query, target = case.path.query, case.path.query.aim
    index = world.compiled.by_ref.get(query.source)
    if query.outside is not None or index is None or target is None or target.protocol != "TCP":
        return
    port = case.path.port
    pod = world.compiled.pods[index].pod
    containers = [each.name for each in pod.spec.containers or []]
    if port is None or not containers:
        return
    container = (pod.metadata.annotations or {}).get(_DEFAULT_CONTAINER) or containers[0]
    for host in _hosts(target, world):
        yield _Try(pod.ref, container, host, port)


def _hosts(target: Target, world: World) -> Iterator[str]:
    """What the pod is told to connect to; nothing for pods without an address."""
    if target.kind in {POD, WORKLOAD}:
        refs = (target.ref,) if target.kind == POD else pods_of(world.compiled, target.workload, target.ref)
        for ref in refs:
            yield from world.compiled.pods[world.compiled.by_ref[ref]].pod.ips[:1]
    elif target.kind == SERVICE:
        yield f"{target.name}.{target.namespace}"
    elif target.kind == NODE:
        yield format_address(*node_address(world.compiled, target.name))
    else:
        yield target.name
