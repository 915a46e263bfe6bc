"""When live flows are kept: a connection outlives a stricter policy, but not the pod it belongs to.

In: the compiled state that is in force and the one that comes. Out: the addresses whose pod is another one, or gone, and the same state
without the pods that come to such an address, to be programmed in between. Called by ``agent.programming``.
When live flows are cut nothing of this is needed: an address that leaves bumps the generation, and every connection is judged again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stockade.model.meta import ObjectRef
from stockade.net.cidr import Address
from stockade.policy.compiled import CompiledPolicies
from stockade.store.state import PODS, ClusterState


class Tenant(msgspec.Struct, frozen=True):
    """Which pod lives at an address, and on which node."""

    pod: ObjectRef
    uid: str
    node: str


Tenants = Mapping[Address, Tenant]


def tenants(compiled: CompiledPolicies) -> Tenants:
    """Of every node: a connection to a far pod is inherited just the same."""
    return {
        address: Tenant(entry.ref, entry.pod.metadata.uid, entry.pod.spec.node_name)
        for entry in compiled.pods
        for address in entry.addresses
    }


def left(before: Tenants, after: Tenants) -> frozenset[Address]:
    """Addresses that are no longer those of the pod they were of."""
    return frozenset(address for address, tenant in before.items() if after.get(address) != tenant)


def without_heirs(state: ClusterState, addresses: frozenset[Address], after: Tenants) -> ClusterState:
    """``state`` before the new pods came to ``addresses``: programmed first, while the connections there are forgotten. The same state
    when nobody came."""
    heirs = {after[address].pod for address in addresses if address in after}
    if not heirs:
        return state
    return state.replacing({PODS: {ref: pod for ref, pod in state.pods.items() if ref not in heirs}})
