"""What the engine says of the same probes, from the objects as the API returns them.

In: an ApiClient, the cells. Out: allowed or not for each. Called by ``run``. A destination called by its Service's name needs the lookup, too:
the source must reach the cluster's DNS pods on UDP 53.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from stockade.kube.client import ApiClient
from stockade.kube.pages import Scope, list_all
from stockade.kube.resources import NAMESPACES, NETWORK_POLICIES, NODES, PODS, PolicyObject
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow, PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.conformance.matrix import Cell

DNS_LABEL = ("k8s-app", "kube-dns")


async def verdicts(client: ApiClient, cells: Iterable[Cell], destination_type: str) -> dict[Cell, bool]:
    lists = await asyncio.gather(
        *(list_all(client, each, Scope()) for each in (NAMESPACES, NODES, PODS, NETWORK_POLICIES))
    )
    objects = [each for found, _ in lists for each in found if isinstance(each, PolicyObject)]
    compiled = compile_state(ClusterState.of(objects))
    servers = [each.ref for each in objects if isinstance(each, Pod) and _is_dns(each)]
    wanted = list(cells)
    lookups = {
        source: destination_type != "service-name"
        or any(_allowed(compiled, source, server, "UDP", 53) for server in servers)
        for source in {ObjectRef(*cell.source) for cell in wanted}
    }
    return {
        cell: lookups[ObjectRef(*cell.source)]
        and _allowed(
            compiled, ObjectRef(*cell.source), ObjectRef(*cell.destination), cell.protocol, cell.port
        )
        for cell in wanted
    }


def _is_dns(pod: Pod) -> bool:
    return (pod.metadata.labels or {}).get(DNS_LABEL[0]) == DNS_LABEL[1]


def _allowed(
    compiled: CompiledPolicies, source: ObjectRef, destination: ObjectRef, protocol: str, port: int
) -> bool:
    flow = Flow(PodEndpoint(source), PodEndpoint(destination), protocol, port)
    return evaluate(compiled, flow, misses=False).allowed
