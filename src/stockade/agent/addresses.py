"""Who has an address, and the part of the cluster that decides about a packet between two of them.

In: the ClusterState as it changes. Out: the compiled form of the few objects that matter for two addresses: the pods that claim them, the
namespaces of these pods and the policies there. What ``evaluate`` says of a flow between them is the same as in the whole cluster
(tests/property/test_attribution.py), which would take 0.2 s to compile at 5000 pods and 1000 policies. Called by ``agent.attribution``.

Why that is enough: a pod is isolated by policies of its own namespace (rule 2), and their rules ask about the other end only, by its
labels, its namespace's labels and its address. Whose an address is depends on the pods that claim it, so all of them come along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.objects import Node, Pod
from stockade.net.cidr import Address
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.entries import parse_all
from stockade.store.state import ClusterState

_COMPILED = 512  # parts kept

_Nodes = dict[str, tuple[Address, ...]]
_Inputs = tuple[object, ...]


class AddressIndex:
    """``follow`` brings it up to a state: an identity test for each pod, and work for those that changed. Call it when there is
    something to ask, not for every state."""

    def __init__(self) -> None:
        self._state = ClusterState()
        self._claimants: dict[Address, tuple[ObjectRef, ...]] = {}
        self._hosts: Counter[tuple[str, str]] = Counter()  # (node, status.hostIP) -> pods that say so
        self._nodes: _Nodes | None = {}
        self._parts: dict[frozenset[ObjectRef], tuple[_Inputs, CompiledPolicies]] = {}

    def follow(self, state: ClusterState) -> None:
        before, self._state = self._state, state
        if state.nodes is not before.nodes:
            self._nodes = None
        if state.pods is before.pods:
            return
        for ref, pod in before.pods.items():
            if state.pods.get(ref) is not pod:
                self._remove(ref, pod)
        for ref, pod in state.pods.items():
            if before.pods.get(ref) is not pod:
                self._add(ref, pod)

    def pods(self, address: Address) -> tuple[Pod, ...]:
        """Those that claim it: usually one or none."""
        return tuple(self._state.pods[ref] for ref in self._claimants.get(address, ()))

    def compiled(self, *addresses: Address) -> CompiledPolicies:
        """Of what decides about packets between ``addresses``: the very same value as before unless one of these objects changed."""
        chosen = frozenset(self._concerned(addresses))
        inputs = self._inputs(chosen)
        kept = self._parts.get(chosen)
        if kept is None or kept[0] != inputs:
            kept = self._parts[chosen] = inputs, self._compile(chosen)
            if len(self._parts) > _COMPILED:
                del self._parts[next(iter(self._parts))]
        return kept[1]

    @property
    def node_addresses(self) -> _Nodes:
        """As ``policy.entries.node_addresses``: from Node.status and status.hostIP."""
        if self._nodes is None:
            self._nodes = _node_addresses(self._state.nodes, self._hosts)
        return self._nodes

    def _concerned(self, addresses: Iterable[Address]) -> set[ObjectRef]:
        """The claimants, and whoever else claims another address of one of them."""
        found = {ref for address in addresses for ref in self._claimants.get(address, ())}
        for ref in tuple(found):
            for address in claims(self._state.pods[ref]):
                found.update(self._claimants[address])
        return found

    def _inputs(self, chosen: frozenset[ObjectRef]) -> _Inputs:
        state = self._state
        spaces = sorted({ref.namespace for ref in chosen})
        return (
            tuple(state.pods[ref] for ref in sorted(chosen)),
            tuple(state.namespaces.get(space) for space in spaces),
            tuple(state.policies_in(space) for space in spaces),
            self.node_addresses,
        )

    def _compile(self, chosen: frozenset[ObjectRef]) -> CompiledPolicies:
        state = self._state
        spaces = {ref.namespace for ref in chosen}
        part = ClusterState(
            namespaces={space: state.namespaces[space] for space in spaces if space in state.namespaces},
            pods={ref: state.pods[ref] for ref in chosen},
            policies={policy.ref: policy for space in spaces for policy in state.policies_in(space)},
        )
        return msgspec.structs.replace(compile_state(part), node_addresses=self.node_addresses)

    def _add(self, ref: ObjectRef, pod: Pod) -> None:
        for address in claims(pod):
            self._claimants[address] = (*self._claimants.get(address, ()), ref)
        host = (pod.spec.node_name, pod.status.host_ip)
        if all(host):
            self._hosts[host] += 1
            if self._hosts[host] == 1:
                self._nodes = None

    def _remove(self, ref: ObjectRef, pod: Pod) -> None:
        for address in claims(pod):
            others = tuple(other for other in self._claimants[address] if other != ref)
            if others:
                self._claimants[address] = others
            else:
                del self._claimants[address]
        host = (pod.spec.node_name, pod.status.host_ip)
        if all(host):
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
                self._nodes = None


def claims(pod: Pod) -> tuple[Address, ...]:
    """A finished pod and one on the host's network claim nothing (rules 37, 48)."""
    return () if pod.is_finished or pod.on_host_network else parse_all(pod.ips)


def _node_addresses(nodes: Mapping[str, Node], hosts: Iterable[tuple[str, str]]) -> _Nodes:
    texts = {name: list(node.ips) for name, node in nodes.items()}
    for name, ip in sorted(hosts):
        texts.setdefault(name, []).append(ip)
    return {name: parse_all(texts[name]) for name in sorted(texts)}
