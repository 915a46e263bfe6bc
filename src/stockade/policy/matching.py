"""Does one peer, one port, one rule match a flow? The yes-or-no half of ``evaluate``; ``nearest`` says why not.

Rules 12-16, 18-33. A rule matches when one of its peers and one of its ports do.
"""

from __future__ import annotations

import msgspec

from stockade.policy.compiled import BlockPeer, CompiledRule, NamedPort, SelectorPeer
from stockade.policy.content import MAX_PORT
from stockade.policy.ends import End


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule is asked: ``other`` is the far end (the peer), ``destination`` owns the port; both may be the same."""

    other: End
    destination: End
    protocol: str
    port: int | None
    family: int


def _block_matches(peer: BlockPeer, flow: Candidate) -> bool:
    address = flow.other.address(flow.family)
    return peer.family == flow.family and address is not None and address in peer.ranges


def _named_matches(port: NamedPort, flow: Candidate) -> bool:
    entry = flow.destination.entry
    return entry is not None and flow.port in entry.named_ports.get((port.protocol, port.name), ())


# Plain loops: these two run for every rule of every question; a generator, or a call for each peer, costs more than the
# comparison.


def any_peer_matches(rule: CompiledRule, flow: Candidate) -> bool:
    if rule.peers is None:
        return True
    entry = flow.other.entry
    for peer in rule.peers:
        if isinstance(peer, SelectorPeer):
            if entry is not None and peer.pods >> entry.index & 1:
                return True
        elif _block_matches(peer, flow):
            return True
    return False


def any_port_matches(rule: CompiledRule, flow: Candidate) -> bool:
    """ICMP has no port and is none of the three protocols: only rules without ports let it pass (rule 33). Without a port
    number (unknown to the caller) only "every port of the protocol" matches."""
    if rule.ports is None:
        return True
    protocol, number = flow.protocol, flow.port
    for port in rule.ports:
        if port.protocol != protocol:
            continue
        if isinstance(port, NamedPort):
            matches = _named_matches(port, flow)
        elif number is None:
            matches = port.lo == 0 and port.hi == MAX_PORT
        else:
            matches = port.lo <= number <= port.hi
        if matches:
            return True
    return False
