"""Where pods run and what address they have, when manifests do not say: the state as if a scheduler and a CNI plugin had been there.

In: a ClusterState read from files, a node's name. Out: the names of nodes, or the state in which every pod runs somewhere and has an
address. Called by ``stockade render``: rules hold addresses, where ``check`` does with labels. Pure.

Stand-in addresses are from blocks that no network routes (RFC 2544, RFC 5180: for benchmarks), so nobody mistakes them for a pod's.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stockade.model.objects import Pod, PodIP
from stockade.net.cidr import format_address, parse_block
from stockade.store.delta import Upsert, apply
from stockade.store.state import PODS, ClusterState

STAND_INS = {4: parse_block("198.18.0.0/15"), 6: parse_block("2001:2::/48")}
ONLY_NODE = "node-1"  # of manifests that name none


class Placed(msgspec.Struct, frozen=True):
    """``notes``: what had to be assumed, for people."""

    state: ClusterState
    notes: tuple[str, ...] = ()


def node_names(state: ClusterState) -> tuple[str, ...]:
    """Of Node objects and of the pods' spec.nodeName, sorted."""
    running = {pod.spec.node_name for pod in state.pods.values() if not pod.is_finished}
    return tuple(sorted({*state.nodes, *running} - {""}))


def placed(state: ClusterState, node: str, families: tuple[int, ...] = (4,)) -> Placed:
    """Pods without a node run on ``node``; those without a status get an address of each of ``families``. A pod that has a status
    and no address is read as it is: it has none yet (rule 49)."""
    pods = [state.pods[ref] for ref in sorted(state.pods) if not state.pods[ref].is_finished]
    homeless = [pod for pod in pods if not pod.spec.node_name]
    nameless = [pod for pod in pods if not pod.status.phase and not pod.ips and not pod.on_host_network]
    changed: dict[str, Pod] = {}
    for pod in homeless:
        spec = msgspec.structs.replace(pod.spec, node_name=node)
        changed[str(pod.ref)] = msgspec.structs.replace(pod, spec=spec)
    for number, pod in enumerate(nameless, start=1):
        home = changed.get(str(pod.ref), pod)
        ips = [PodIP(ip=format_address(family, STAND_INS[family].low + number)) for family in families]
        status = msgspec.structs.replace(home.status, pod_ip=ips[0].ip, pod_ips=ips)
        changed[str(pod.ref)] = msgspec.structs.replace(home, status=status)
    if not changed:
        return Placed(state)
    notes = tuple(_notes(homeless, nameless, node, families))
    return Placed(apply(state, [Upsert(PODS, pod) for pod in changed.values()]), notes)


def _notes(homeless: list[Pod], nameless: list[Pod], node: str, families: tuple[int, ...]) -> Iterator[str]:
    if homeless:
        yield f"{_count(homeless)} no spec.nodeName: taken to run on {node}"
    if nameless:
        blocks = " and ".join(str(STAND_INS[family]) for family in families)
        yield f"{_count(nameless)} no status: given stand-in addresses of {blocks}"


def _count(pods: list[Pod]) -> str:
    return f"pod {pods[0].ref} has" if len(pods) == 1 else f"{len(pods)} pods have"
