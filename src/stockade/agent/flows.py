"""When live flows are kept: a connection outlives a stricter policy, but not the pod it belongs to.

In: the compiled state that is in force and the one that comes. Out: the addresses whose pod is another one, or gone, and the same state
without the pods that come to such an address, to be programmed in between. Called by ``agent.programming``.
When live flows are cut nothing of this is needed: an address that leaves bumps the generation, and every connection is judged again.
"""

from __future__ import annotations

from collections.abc import Mapping

from stockade.model.meta import ObjectRef
from stockade.net.cidr import Address
from stockade.policy.compiled import CompiledPolicies
from stockade.store.state import PODS, ClusterState

Tenants = Mapping[Address, tuple[ObjectRef, str]]


def tenants(compiled: CompiledPolicies) -> Tenants:
    """Who lives where: pod and uid by address, of every node, for a connection to a far pod is inherited just the same."""
    return {
        address: (entry.ref, entry.pod.metadata.uid) for entry in compiled.pods for address in entry.addresses
    }


def left(before: Tenants, after: Tenants) -> frozenset[Address]:
    """Addresses that are no longer those of the pod they were of."""
    return frozenset(address for address, pod in before.items() if after.get(address) != pod)


def without_heirs(state: ClusterState, addresses: frozenset[Address], after: Tenants) -> ClusterState:
    """``state`` before the new pods came to ``addresses``: programmed first, while the connections there are forgotten. The same state
    when nobody came."""
    heirs = {after[address][0] for address in addresses if address in after}
    if not heirs:
        return state
    return state.replacing({PODS: {ref: pod for ref, pod in state.pods.items() if ref not in heirs}})
