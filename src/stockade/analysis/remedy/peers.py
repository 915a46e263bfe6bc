"""Ends of connections as peers of a rule: the narrowest selector or address block, and what it takes in besides.

In: Endpoints. Out: Peers, each with the endpoints it stands for. Called by ``suggest``. Rules 13-19, 38: selectors mean pods with a
network of their own; a host-network pod, a node and a host outside are addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from stockade.analysis.remedy.labels import Choice, LabelChooser
from stockade.model.meta import ObjectRef
from stockade.model.netpol import IPBlock, NetworkPolicyPeer
from stockade.model.objects import NAMESPACE_NAME_LABEL
from stockade.model.selectors import LabelSelector
from stockade.net.cidr import BITS, Address, format_address
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.verdict import AddressEndpoint, Endpoint, PodEndpoint


class Peer(msgspec.Struct, frozen=True):
    """``ends``: every pod the item means today; for a block the address as it was asked for, and the host-network pods that
    have it."""

    item: NetworkPolicyPeer
    ends: tuple[Endpoint, ...]
    choice: Choice | None = None


class Peers(msgspec.Struct, frozen=True):
    """``nameless``: ends that no peer can mean, for nobody knows their address yet."""

    found: tuple[Peer, ...]
    nameless: tuple[Endpoint, ...] = ()


def peers_for(
    compiled: CompiledPolicies,
    chooser: LabelChooser,
    ends: Iterable[tuple[Endpoint, int]],
    free: Collection[Endpoint],
    home: str,
) -> Peers:
    """``ends`` with the family of their traffic; ``free``: ends that gain nothing from being chosen as well; ``home``: the namespace
    of the policy."""
    pods: dict[str, list[ObjectRef]] = {}
    addresses: dict[Address, Endpoint] = {}
    nameless: list[Endpoint] = []
    for end, family in ends:
        own = _own_network(compiled, end)
        address = None if own else _address(compiled, end, family)
        if own:
            pods.setdefault(own.namespace, []).append(own)
        elif address is not None:
            addresses.setdefault(address, end)
        else:
            nameless.append(end)
    spare = {end.ref for end in free if isinstance(end, PodEndpoint)}
    found = [
        _selected(choice, namespace, home)
        for namespace in sorted(pods, key=lambda each: (each != home, each))
        for choice in chooser.choose(pods[namespace], spare)
    ]
    found += [_block(compiled, address, end) for address, end in addresses.items()]
    return Peers(tuple(found), tuple(nameless))


def _own_network(compiled: CompiledPolicies, end: Endpoint) -> ObjectRef | None:
    if isinstance(end, AddressEndpoint):
        index = compiled.by_address.get((end.family, end.address))
        return None if index is None else compiled.pods[index].ref
    return None if compiled.pods[compiled.by_ref[end.ref]].pod.on_host_network else end.ref


def _address(compiled: CompiledPolicies, end: Endpoint, family: int) -> Address | None:
    if isinstance(end, AddressEndpoint):
        return end.family, end.address
    own = compiled.pods[compiled.by_ref[end.ref]].addresses
    return next((address for address in own if address[0] == family), None)


def _selected(choice: Choice, namespace: str, home: str) -> Peer:
    where = None
    if namespace != home:
        where = LabelSelector(match_labels={NAMESPACE_NAME_LABEL: namespace})
    item = NetworkPolicyPeer(namespace_selector=where, pod_selector=choice.selector)
    return Peer(item, tuple(PodEndpoint(ref) for ref in choice.pods), choice)


def _block(compiled: CompiledPolicies, address: Address, end: Endpoint) -> Peer:
    family, value = address
    text = format_address(family, value)
    sharing = [
        PodEndpoint(entry.ref)
        for entry in compiled.pods
        if entry.pod.on_host_network and _address(compiled, PodEndpoint(entry.ref), family) == address
    ]
    block = IPBlock(cidr=f"{text}/{BITS[family]}")
    own = end if isinstance(end, AddressEndpoint) else AddressEndpoint(family, value, text)
    return Peer(NetworkPolicyPeer(ip_block=block), (own, *sharing))
