"""A profile of many rules in few: called by ``chains`` when a chain would have more than ``LIMIT`` rules.

A rule visited costs 80 to 160 ns (reference dataplane 2), so a pod under a hundred policies would pay 50 us for each first packet.
First, rules of equal ports become one, whose set is the union of their peers. If that is not enough, single ports and the pods
that may use them become one set of (address, protocol, port): one lookup, however many policies there are. The price: rules share
a counter no more, and the notes of sets, not of rules, say which peers they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.dataplane.ir import PROTOCOLS, Field, Match, Member
from stockade.dataplane.sets import SetBuilder, Side, Suffix, peer_match, port_match
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import BlockPeer, NamedPort, PortRange, Profile, SelectorPeer

LIMIT = 50
SINGLE_PORTS = 16  # a range of up to so many ports is as good as single ports

Peer = SelectorPeer | BlockPeer | None
Port = PortRange | NamedPort | None
Line = tuple[tuple[Match, ...], str]


def pairs(profile: Profile) -> Iterator[tuple[Peer, Port]]:
    """Everything the profile allows, one peer and one port at a time."""
    for rule in profile.rules:
        for peer in (None,) if rule.peers is None else rule.peers:
            for port in (None,) if rule.ports is None else rule.ports:
                yield peer, port


def by_port(profile: Profile) -> dict[Port, list[Peer]]:
    """Named ports keep their peers apart: their sets hold the destination anyway."""
    found: dict[Port, list[Peer]] = {}
    for peer, port in pairs(profile):
        if not isinstance(port, NamedPort):
            found.setdefault(port, []).append(peer)
    return found


def folded(profile: Profile, sets: SetBuilder, families: tuple[int, ...], side: Side) -> Iterator[Line]:
    """Everything but named ports, in few lines."""
    groups = by_port(profile)
    if len(groups) * len(families) > LIMIT:
        yield from _single_ports(groups, sets, families, side)
    for port, peers in groups.items():
        ports = () if port is None or isinstance(port, NamedPort) else (port_match(port, side),)
        where = "every port" if port is None else str(getattr(port, "protocol", ""))
        if any(peer is None for peer in peers):
            yield ports, f"folded: any peer, {where}"
            continue
        for family in families:
            for match in _peers_of(peers, sets, family, side):
                yield (*ports, match), f"folded: {len(peers)} peers, {where}"


def _single_ports(
    groups: dict[Port, list[Peer]], sets: SetBuilder, families: tuple[int, ...], side: Side
) -> Iterator[Line]:
    """Takes what it folds out of ``groups``."""
    chosen: dict[str, tuple[SelectorPeer, frozenset[Suffix]]] = {}
    for port in [each for each in groups if isinstance(each, PortRange)]:
        if port.hi - port.lo >= SINGLE_PORTS:
            continue
        suffixes = frozenset((PROTOCOLS[port.protocol], number) for number in range(port.lo, port.hi + 1))
        rest: list[Peer] = []
        for peer in groups.pop(port):
            if isinstance(peer, SelectorPeer):
                _, before = chosen.get(peer.key, (peer, frozenset()))
                chosen[peer.key] = peer, before | suffixes
            else:
                rest.append(peer)
        if rest:
            groups[port] = rest
    if not chosen:
        return
    for family in families:
        fields = (side.peer[family], Field.PROTOCOL, side.port)
        yield (Member(fields, sets.folded(chosen, family)),), f"folded: single ports of {len(chosen)} peers"


def _peers_of(peers: list[Peer], sets: SetBuilder, family: int, side: Side) -> Iterator[Match]:
    selectors = [peer for peer in peers if isinstance(peer, SelectorPeer)]
    if selectors:
        yield Member((side.peer[family],), sets.union(selectors, family))
    blocks = [peer for peer in peers if isinstance(peer, BlockPeer) and peer.family == family]
    if blocks:
        ranges = RangeSet(pair for block in blocks for pair in block.ranges)
        text = " or ".join(dict.fromkeys(block.text for block in blocks))
        match = peer_match(sets, BlockPeer(family, ranges, text), family, side)
        if match is not None:
            yield match
