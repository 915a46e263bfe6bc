"""A profile of many rules in few: called by ``chains`` when a chain would have more than ``LIMIT`` rules.

A rule visited costs 80 to 160 ns (reference dataplane 2), so a pod under a hundred policies would pay 50 us for each first packet.
First, rules of equal ports become one, whose set is the union of their peers. If that is not enough, single ports and the pods
that may use them become one set of (address, protocol, port): one lookup, however many policies there are. The price: rules share
a counter no more, and their notes name the policy rules they stand for, up to a few.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.dataplane.ir import PROTOCOLS, Field, Match, Member
from stockade.dataplane.sets import SetBuilder, Side, Suffix, peer_match, port_match
from stockade.dataplane.wording import peer_text, port_text
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import BlockPeer, NamedPort, PortRange, Profile, RuleRef, SelectorPeer

LIMIT = 50
SINGLE_PORTS = 16  # a range of up to so many ports is as good as single ports

Peer = SelectorPeer | BlockPeer | None
Port = PortRange | NamedPort | None
Sourced = tuple[Peer, RuleRef]
Line = tuple[tuple[Match, ...], str, tuple[RuleRef, ...]]


def pairs(profile: Profile) -> Iterator[tuple[Peer, Port, RuleRef]]:
    """Everything the profile allows, one peer and one port at a time."""
    for rule in profile.rules:
        for peer in (None,) if rule.peers is None else rule.peers:
            for port in (None,) if rule.ports is None else rule.ports:
                yield peer, port, rule.ref


def by_port(profile: Profile) -> dict[Port, list[Sourced]]:
    """Named ports keep their peers apart: their sets hold the destination anyway."""
    found: dict[Port, list[Sourced]] = {}
    for peer, port, ref in pairs(profile):
        if not isinstance(port, NamedPort):
            found.setdefault(port, []).append((peer, ref))
    return found


def folded(profile: Profile, sets: SetBuilder, families: tuple[int, ...], side: Side) -> Iterator[Line]:
    """Everything but named ports, in few lines."""
    groups = by_port(profile)
    if len(groups) * len(families) > LIMIT:
        yield from _single_ports(groups, sets, families, side)
    for port, sourced in groups.items():
        ports = () if port is None or isinstance(port, NamedPort) else (port_match(port, side),)
        if any(peer is None for peer, _ in sourced):
            yield ports, *_note([each for each in sourced if each[0] is None], port)
            continue
        for family in families:
            for match, members in _peers_of(sourced, sets, family, side):
                yield (*ports, match), *_note(members, port)


def _note(sourced: list[Sourced], port: Port) -> tuple[str, tuple[RuleRef, ...]]:
    peers = list(dict.fromkeys(peer_text(peer) for peer, _ in sourced))
    who = peers[0] if len(peers) == 1 else f"{len(peers)} peers in one set"
    return f"{who}, {port_text(port)}", tuple(dict.fromkeys(ref for _, ref in sourced))


def _single_ports(
    groups: dict[Port, list[Sourced]], sets: SetBuilder, families: tuple[int, ...], side: Side
) -> Iterator[Line]:
    """Takes what it folds out of ``groups``."""
    chosen: dict[str, tuple[SelectorPeer, frozenset[Suffix]]] = {}
    refs: dict[RuleRef, None] = {}
    for port in [each for each in groups if isinstance(each, PortRange)]:
        if port.hi - port.lo >= SINGLE_PORTS:
            continue
        suffixes = frozenset((PROTOCOLS[port.protocol], number) for number in range(port.lo, port.hi + 1))
        rest: list[Sourced] = []
        for peer, ref in groups.pop(port):
            if isinstance(peer, SelectorPeer):
                _, before = chosen.get(peer.key, (peer, frozenset()))
                chosen[peer.key] = peer, before | suffixes
                refs[ref] = None
            else:
                rest.append((peer, ref))
        if rest:
            groups[port] = rest
    if not chosen:
        return
    note = f"single ports of {len(chosen)} peers in one set"
    for family in families:
        fields = (side.peer[family], Field.PROTOCOL, side.port)
        yield (Member(fields, sets.folded(chosen, family)),), note, tuple(refs)


def _peers_of(
    sourced: list[Sourced], sets: SetBuilder, family: int, side: Side
) -> Iterator[tuple[Match, list[Sourced]]]:
    """At most one set of pods and one of blocks, each with what it stands for."""
    selecting = [each for each in sourced if isinstance(each[0], SelectorPeer)]
    selectors = [peer for peer, _ in selecting if isinstance(peer, SelectorPeer)]
    if selectors:
        yield Member((side.peer[family],), sets.union(selectors, family)), selecting
    blocking = [each for each in sourced if isinstance(each[0], BlockPeer) and each[0].family == family]
    blocks = [peer for peer, _ in blocking if isinstance(peer, BlockPeer)]
    if blocks:
        ranges = RangeSet(pair for block in blocks for pair in block.ranges)
        text = " or ".join(dict.fromkeys(block.text for block in blocks))
        match = peer_match(sets, BlockPeer(family, ranges, text), family, side)
        if match is not None:
            yield match, blocking
