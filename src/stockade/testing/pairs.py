"""Everything that is allowed in a state: all pairs, both families, chosen ports. For comparing before and after.

In: a state, the ports and protocols to ask about, addresses besides the pods. Out: keys of the allowed flows: (source, destination,
protocol, port, family), where an end is an ObjectRef or (family, address). Called by tests of changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from stockade.model.meta import ObjectRef
from stockade.model.netpol import NetworkPolicy
from stockade.net.cidr import Address, format_address, parse_address
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState

PROTOCOLS = ("TCP", "UDP", "SCTP")
End = ObjectRef | Address
Key = tuple[End, End, str, int | None, int]


def end_key(end: Endpoint) -> End:
    return end.ref if isinstance(end, PodEndpoint) else (end.family, end.address)


def flow_key(flow: Flow) -> Key:
    return end_key(flow.source), end_key(flow.destination), flow.protocol, flow.port, flow.family


def mentioned_ports(policies: Iterable[NetworkPolicy]) -> set[int]:
    """Every number in a rule, and its neighbours."""
    numbers: set[int] = set()
    for policy in policies:
        listed = [rule.ports for rule in policy.spec.ingress or []]
        listed += [rule.ports for rule in policy.spec.egress or []]
        for port in (port for ports in listed for port in ports or []):
            numbers |= {each for each in (port.port, port.end_port) if isinstance(each, int)}
    return around(numbers)


def around(numbers: Iterable[int]) -> set[int]:
    return {each + step for each in numbers for step in (-1, 0, 1) if 1 <= each + step <= 65535}


def allowed_flows(state: ClusterState, ports: Iterable[int], addresses: Iterable[str] = ()) -> set[Key]:
    """Pods with each other and with ``addresses``, on ``ports`` of each protocol and by ICMP."""
    compiled = compile_state(state)
    kinds: list[tuple[str, int | None]] = [(ICMP, None), *product(PROTOCOLS, sorted(ports))]
    return {
        flow_key(flow)
        for source, destination, family in _pairs(compiled, addresses)
        for protocol, port in kinds
        if evaluate(compiled, flow := Flow(source, destination, protocol, port, family)).allowed
    }


def _pairs(compiled: CompiledPolicies, addresses: Iterable[str]) -> Iterator[tuple[Endpoint, Endpoint, int]]:
    pods: list[Endpoint] = [PodEndpoint(entry.ref) for entry in compiled.pods]
    others: list[Endpoint] = [AddressEndpoint(*parse_address(text), text) for text in addresses]
    for source, destination in (*product(pods, pods), *product(pods, others), *product(others, pods)):
        for family in (4, 6):
            if all(family in (_families(compiled, end) or (4, 6)) for end in (source, destination)):
                yield source, destination, family


def _families(compiled: CompiledPolicies, end: Endpoint) -> set[int]:
    """None known yet: any."""
    if isinstance(end, AddressEndpoint):
        return {end.family}
    return {family for family, _ in compiled.pods[compiled.by_ref[end.ref]].addresses}


def key_text(key: Key) -> str:
    """``default/test -> default/web TCP 80 (IPv4)``, for the messages of a failed test."""
    ends = [str(end) if isinstance(end, ObjectRef) else format_address(*end) for end in key[:2]]
    return f"{ends[0]} -> {ends[1]} {key[2]} {key[3] or ''} (IPv{key[4]})"
