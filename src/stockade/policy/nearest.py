"""Why a rule did not match, and how near it was: the Misses of a denied direction.

In: the rules of a profile and the flow that none of them allowed. Out: Misses, nearest first. Called by ``evaluate`` only
when a flow is denied, so the common case pays nothing for it.

A rule scores the sum of its best peer and its best port, 0 to 4 each; 4 means that this half matched.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from operator import attrgetter

from stockade.net.cidr import format_address
from stockade.policy.compiled import BlockPeer, CompiledRule, NamedPort, PortRange, SelectorPeer
from stockade.policy.content import port_text
from stockade.policy.matching import Candidate, any_peer_matches, any_port_matches
from stockade.policy.verdict import ICMP, Miss

_FULL = 4
_Half = tuple[int, str, str]  # score, part, detail
_MATCHED: _Half = (_FULL, "", "")


def misses(rules: Iterable[CompiledRule], flow: Candidate) -> tuple[Miss, ...]:
    far = _Far(flow)
    found = [_miss(rule, flow, far) for rule in rules]
    # Stable: rules that are equally near stay in the order of their policies.
    return tuple(sorted(found, key=attrgetter("score"), reverse=True))


class _Far:
    """What every rule is compared with, put into words once: the far end's address, labels and name."""

    def __init__(self, flow: Candidate) -> None:
        self.entry, self.text, self.family = flow.other.entry, flow.other.text, flow.family
        self.address = flow.other.address(flow.family)

    @cached_property
    def labels(self) -> str:
        own = self.entry.pod.labels if self.entry else {}
        return ",".join(f"{key}={value}" for key, value in sorted(own.items())) or "no labels"

    @cached_property
    def address_text(self) -> str:
        return "" if self.address is None else format_address(self.family, self.address)


def _miss(rule: CompiledRule, flow: Candidate, far: _Far) -> Miss:
    peer, port = _peer_half(rule, flow, far), _port_half(rule, flow)
    failed = [half for half in (peer, port) if half[0] < _FULL]
    detail = failed[0][2] if len(failed) == 1 else f"{peer[2]}; and {port[2]}"
    return Miss(rule=rule.ref, part=failed[0][1], detail=detail, score=peer[0] + port[0])


def _peer_half(rule: CompiledRule, flow: Candidate, far: _Far) -> _Half:
    if any_peer_matches(rule, flow):
        return _MATCHED
    if not rule.peers:
        return 0, "peer", "it lists only peers that are not valid, and so nobody"
    best, best_score = rule.peers[0], -1
    for peer in rule.peers:
        score = _selector_score(peer, far) if isinstance(peer, SelectorPeer) else _block_score(peer, far)
        if score > best_score:
            best, best_score = peer, score
    return _selector_half(best, far) if isinstance(best, SelectorPeer) else _block_half(best, far)


def _selector_score(peer: SelectorPeer, far: _Far) -> int:
    if far.entry is None:
        return 0
    if peer.in_namespaces >> far.entry.index & 1:
        return 3
    return 2 if peer.labelled >> far.entry.index & 1 else 1


def _selector_half(peer: SelectorPeer, far: _Far) -> _Half:
    score = _selector_score(peer, far)
    if far.entry is None:
        return score, "peer", f"selectors choose pods only, and {far.text} is none (wants {peer.text})"
    namespace = far.entry.ref.namespace
    if score == 3:
        return score, "labels", f"{far.text} has {far.labels}, the rule wants {peer.text}"
    if score == 2:
        return score, "namespace", f"{far.text} is in namespace {namespace}, the rule wants {peer.text}"
    return score, "peer", f"{far.text} ({far.labels}, namespace {namespace}) is none of {peer.text}"


def _block_score(peer: BlockPeer, far: _Far) -> int:
    if far.address is None:
        return 0
    return 3 if peer.family == far.family and far.address in peer.whole else 1


def _block_half(peer: BlockPeer, far: _Far) -> _Half:
    score = _block_score(peer, far)
    if far.address is None:
        return score, "family", f"{far.text} has no IPv{far.family} address to compare with {peer.text}"
    if peer.family != far.family:
        return score, "family", f"{peer.text} is IPv{peer.family}, the traffic is IPv{far.family}"
    if score == 3:
        return score, "except", f"{far.address_text} is in an excepted part of {peer.text}"
    return score, "peer", f"{far.address_text} is not in {peer.text}"


def _port_half(rule: CompiledRule, flow: Candidate) -> _Half:
    if any_port_matches(rule, flow):
        return _MATCHED
    if not rule.ports:
        return 0, "port", "it lists only ports that are not valid, and so none"
    listed = _listed(rule.ports)
    if flow.protocol == ICMP:
        return 0, "protocol", f"ICMP passes only rules without ports, this one lists {listed}"
    wanted = f"{flow.protocol} {'' if flow.port is None else flow.port}".rstrip()
    score, part, extra = _near_port(rule.ports, flow)
    return score, part, f"{wanted} is not among its ports ({listed}){extra}"


@lru_cache(maxsize=4096)
def _listed(ports: tuple[PortRange | NamedPort, ...]) -> str:
    return ", ".join(map(port_text, ports))


def _near_port(ports: Iterable[PortRange | NamedPort], flow: Candidate) -> _Half:
    """The detail is what to add after the list of ports."""
    same_protocol, named = False, None
    for port in ports:
        own = port.protocol == flow.protocol
        same_protocol = same_protocol or own
        if isinstance(port, NamedPort):
            named = port if own and named is None else named
        elif flow.port is not None and port.lo <= flow.port <= port.hi:
            return 3, "protocol", ": the number is, the protocol is not"
    if named is not None:
        return 2, "port", f": {_name_detail(named, flow)}"
    return (2, "port", "") if same_protocol else (1, "protocol", "")


def _name_detail(port: NamedPort, flow: Candidate) -> str:
    entry = flow.destination.entry
    if entry is None:
        return f"only pods have named ports, and {flow.destination.text} is none"
    numbers = entry.named_ports.get((port.protocol, port.name))
    if numbers is None:
        return f"{flow.destination.text} names no {port.protocol} port {port.name}"
    return f"{port.name} of {flow.destination.text} is {', '.join(map(str, numbers))}"
