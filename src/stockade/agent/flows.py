"""When live flows are kept: a connection outlives a stricter policy, but not the pod it belongs to.

In: the state that is in force and the one that comes. Out: the addresses whose pod is gone, or is another one, and who comes to them: the heirs
are programmed in a second step, after the connections were forgotten. Called by ``agent.programming``.
When live flows are cut nothing of this is needed: an address that leaves bumps the generation, and every connection is judged again.
"""

from __future__ import annotations

import msgspec

from stockade.agent.addresses import AddressIndex, claims
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.net.cidr import Address
from stockade.store.state import ClusterState


class Left(msgspec.Struct, frozen=True):
    """Addresses of pods that are gone: ``own`` of this node, ``far`` of others (a connection to a far pod is inherited just the same)."""

    own: frozenset[Address]
    far: frozenset[Address]


class Tenancy:
    """Who lived where when connections were last sorted out."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._state = ClusterState()
        self._index = AddressIndex()

    def left(self, state: ClusterState) -> Left:
        own: set[Address] = set()
        far: set[Address] = set()
        for ref, pod in self._state.pods.items():
            now = state.pods.get(ref)
            if now is not pod:
                gone = set(claims(pod)) - set(_kept(pod, now))
                (own if pod.spec.node_name == self._node else far).update(gone)
        return Left(frozenset(own), frozenset(far))

    def heirs(self, state: ClusterState, left: Left) -> set[ObjectRef]:
        """Pods that ``left`` addresses belong to in ``state``."""
        if not left.own and not left.far:
            return set()
        self._index.follow(state)
        return {pod.ref for address in left.own | left.far for pod in self._index.pods(address)}

    def settle(self, state: ClusterState) -> None:
        self._state = state


def _kept(pod: Pod, now: Pod | None) -> tuple[Address, ...]:
    """Addresses that are still the same pod's."""
    return claims(now) if now is not None and now.metadata.uid == pod.metadata.uid else ()
