"""Why a rule did not match, and how near it was: the Misses of a denied direction.

In: the rules of a profile and the flow that none of them allowed. Out: Misses, nearest first. Called by ``evaluate`` only
when a flow is denied, so the common case pays nothing for it.

A rule scores the sum of its best peer and its best port, 0 to 4 each; 4 means that this half matched.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.net.cidr import format_address
from stockade.policy.compiled import BlockPeer, CompiledRule, NamedPort, PortRange, SelectorPeer
from stockade.policy.content import port_text
from stockade.policy.matching import Candidate, any_peer_matches, any_port_matches
from stockade.policy.verdict import ICMP, Miss

_FULL = 4
_Half = tuple[int, str, str]  # score, part, detail


def misses(rules: Iterable[CompiledRule], flow: Candidate) -> tuple[Miss, ...]:
    found = [_miss(rule, flow) for rule in rules]
    return tuple(sorted(found, key=lambda miss: (-miss.score, miss.rule)))


def _miss(rule: CompiledRule, flow: Candidate) -> Miss:
    peer, port = _peer_half(rule, flow), _port_half(rule, flow)
    failed = [half for half in (peer, port) if half[0] < _FULL]
    detail = "; and ".join(half[2] for half in failed)
    return Miss(rule=rule.ref, part=failed[0][1], detail=detail, score=peer[0] + port[0])


def _peer_half(rule: CompiledRule, flow: Candidate) -> _Half:
    if any_peer_matches(rule, flow):
        return _FULL, "", ""
    if not rule.peers:
        return 0, "peer", "it lists only peers that are not valid, and so nobody"
    halves = [
        _selector_half(peer, flow) if isinstance(peer, SelectorPeer) else _block_half(peer, flow)
        for peer in rule.peers
    ]
    return max(halves, key=lambda half: half[0])


def _selector_half(peer: SelectorPeer, flow: Candidate) -> _Half:
    entry = flow.other.entry
    if entry is None:
        return 0, "peer", f"selectors choose pods only, and {flow.other.text} is none (wants {peer.text})"
    labels = ",".join(f"{key}={value}" for key, value in sorted(entry.pod.labels.items())) or "no labels"
    if peer.in_namespaces >> entry.index & 1:
        return 3, "labels", f"{flow.other.text} has {labels}, the rule wants {peer.text}"
    namespace = entry.ref.namespace
    if peer.labelled >> entry.index & 1:
        return 2, "namespace", f"{flow.other.text} is in namespace {namespace}, the rule wants {peer.text}"
    return 1, "peer", f"{flow.other.text} ({labels}, namespace {namespace}) is none of {peer.text}"


def _block_half(peer: BlockPeer, flow: Candidate) -> _Half:
    address = flow.other.address(flow.family)
    if address is None:
        return 0, "family", f"{flow.other.text} has no IPv{flow.family} address to compare with {peer.text}"
    text = format_address(flow.family, address)
    if peer.family != flow.family:
        return 1, "family", f"{peer.text} is IPv{peer.family}, the traffic is IPv{flow.family}"
    if address in peer.whole:
        return 3, "except", f"{text} is in an excepted part of {peer.text}"
    return 1, "peer", f"{text} is not in {peer.text}"


def _port_half(rule: CompiledRule, flow: Candidate) -> _Half:
    if any_port_matches(rule, flow):
        return _FULL, "", ""
    if not rule.ports:
        return 0, "port", "it lists only ports that are not valid, and so none"
    listed = ", ".join(port_text(port) for port in rule.ports)
    if flow.protocol == ICMP:
        return 0, "protocol", f"ICMP passes only rules without ports, this one lists {listed}"
    wanted = f"{flow.protocol} {'' if flow.port is None else flow.port}".rstrip()
    score, part, extra = _near_port(rule.ports, flow)
    return score, part, f"{wanted} is not among its ports ({listed}){extra}"


def _near_port(ports: Iterable[PortRange | NamedPort], flow: Candidate) -> _Half:
    """The detail is what to add after the list of ports."""
    if any(_same_number(port, flow) for port in ports):
        return 3, "protocol", ": the number is, the protocol is not"
    same_protocol = [port for port in ports if port.protocol == flow.protocol]
    named = [port for port in same_protocol if isinstance(port, NamedPort)]
    if named:
        return 2, "port", f": {_name_detail(named[0], flow)}"
    return (2, "port", "") if same_protocol else (1, "protocol", "")


def _same_number(port: PortRange | NamedPort, flow: Candidate) -> bool:
    return isinstance(port, PortRange) and flow.port is not None and port.lo <= flow.port <= port.hi


def _name_detail(port: NamedPort, flow: Candidate) -> str:
    entry = flow.destination.entry
    if entry is None:
        return f"only pods have named ports, and {flow.destination.text} is none"
    numbers = entry.named_ports.get((port.protocol, port.name))
    if numbers is None:
        return f"{flow.destination.text} names no {port.protocol} port {port.name}"
    return f"{port.name} of {flow.destination.text} is {', '.join(map(str, numbers))}"
