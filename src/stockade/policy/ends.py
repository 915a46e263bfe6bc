"""The two ends of a flow, looked up: which pod, which address, whose node.

In: an Endpoint of a Flow. Out: an End with what matching needs. Called by ``evaluate`` and ``nearest``; ``endpoint_for``
is called by whoever starts from a packet's addresses (the agent's drop log). Rules 18, 34-38, 46.
"""

from __future__ import annotations

import msgspec

from stockade.model.objects import Pod
from stockade.net.cidr import Address, format_address
from stockade.policy.compiled import CompiledPolicies, PodEntry
from stockade.policy.verdict import AddressEndpoint, Endpoint, PodEndpoint

_LOOPBACK = ((4, 127 << 24, (128 << 24) - 1), (6, 1, 1))


class UnknownPodError(ValueError):
    """A flow names a pod that the state has not, or that has finished and so has no network any more."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """``entry`` only for a pod with a network of its own; a host-network pod is its node's address (rules 37, 38)."""

    entry: PodEntry | None
    host_pod: Pod | None
    addresses: tuple[Address, ...]
    text: str

    def address(self, family: int) -> int | None:
        return next((value for own, value in self.addresses if own == family), None)

    @property
    def is_loopback(self) -> bool:
        return any(
            family == own and low <= value <= high
            for own, value in self.addresses
            for family, low, high in _LOOPBACK
        )


def end_of(compiled: CompiledPolicies, endpoint: Endpoint) -> End:
    """Raises UnknownPodError."""
    if isinstance(endpoint, PodEndpoint):
        index = compiled.by_ref.get(endpoint.ref)
        if index is None:
            raise UnknownPodError(f"pod {endpoint.ref} does not exist or has finished")
        entry = compiled.pods[index]
        if entry.pod.on_host_network:
            text = f"host-network pod {entry.ref}"
            return End(entry=None, host_pod=entry.pod, addresses=entry.addresses, text=text)
        return End(entry=entry, host_pod=None, addresses=entry.addresses, text=f"pod {entry.ref}")
    address = endpoint.family, endpoint.address
    index = compiled.by_address.get(address)
    if index is None:
        return End(entry=None, host_pod=None, addresses=(address,), text=endpoint.text)
    entry = compiled.pods[index]
    return End(entry=entry, host_pod=None, addresses=(address,), text=f"pod {entry.ref}")


def is_own_node(compiled: CompiledPolicies, end: End, entry: PodEntry) -> bool:
    """Whether ``end`` is the node that ``entry`` runs on: kubelet, probes, host-network pods (rule 34)."""
    node = entry.pod.spec.node_name
    if not node or end.entry is not None:
        return False
    if end.host_pod is not None and end.host_pod.spec.node_name == node:
        return True
    return any(address in compiled.node_addresses.get(node, ()) for address in end.addresses)


def endpoint_for(compiled: CompiledPolicies, address: Address) -> Endpoint:
    """Who has ``address``: a pod, a node (named in the text), or somebody outside."""
    index = compiled.by_address.get(address)
    if index is not None:
        return PodEndpoint(compiled.pods[index].ref)
    family, value = address
    text = format_address(family, value)
    node = next((name for name, own in compiled.node_addresses.items() if address in own), None)
    return AddressEndpoint(family, value, f"node {node} ({text})" if node else text)
