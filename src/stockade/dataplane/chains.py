"""Chains of one profile: allow rules, their mirror for replies, and the chain that logs and drops. Called by ``lower``.

A profile ``p`` for egress becomes ``e_p`` (first packets) and ``re_p`` (replies, with source and destination swapped), each ending
in its own deny chain, whose log prefix names direction and profile: a default deny has no guilty policy, but it has
the policies that isolate, and those are the profile's. Allowed egress is never ``accept``: it goes on to the ingress of the
destination, for both directions must allow (rule 5).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stockade.dataplane.ir import Action, Chain, Drop, Goto, Log, Match, Role, Rule
from stockade.dataplane.sets import (
    EGRESS_REPLY_SIDE,
    EGRESS_SIDE,
    INGRESS_REPLY_SIDE,
    INGRESS_SIDE,
    SetBuilder,
    Side,
    named_port_match,
    peer_match,
    port_match,
)
from stockade.dataplane.settings import Options
from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy.compiled import BlockPeer, CompiledRule, NamedPort, PortRange, Profile, SelectorPeer

LOG_MARK = "stockade"  # first word of every log prefix of ours


class Way(msgspec.Struct, frozen=True):
    """One of the four ways a packet can meet a profile. ``code`` starts the names of its chains and is in its log prefix."""

    code: str
    direction: str
    side: Side
    allowed: str  # chain that decides on after this profile allowed


WAYS = (
    Way("e", EGRESS, EGRESS_SIDE, "ingress"),
    Way("re", EGRESS, EGRESS_REPLY_SIDE, "ringress"),
    Way("i", INGRESS, INGRESS_SIDE, "pass"),
    Way("ri", INGRESS, INGRESS_REPLY_SIDE, "pass"),
)


def log_prefix(code: str, profile: str = "") -> str:
    return f"{LOG_MARK}|{code}|{profile}"


def profile_chains(
    profile: Profile, sets: SetBuilder, families: tuple[int, ...], options: Options
) -> Iterator[Chain]:
    isolating = f"{profile.direction} of pods isolated by " + ", ".join(map(str, profile.policies))
    for way in WAYS:
        if way.direction != profile.direction:
            continue
        deny = f"deny_{way.code}_{profile.id}"
        yield deny_chain(deny, log_prefix(way.code, profile.id), options)
        rules = [*_allow_rules(profile, sets, families, way), Rule((), Goto(deny), note="default deny")]
        yield Chain(f"{way.code}_{profile.id}", tuple(rules), Role.PROFILE, note=isolating)


def deny_chain(name: str, prefix: str, options: Options) -> Chain:
    log = Log(prefix, options.log_group, options.log_rate, options.log_burst, options.log_snaplen)
    return Chain(name, (Rule((), log), Rule((), Drop())), Role.DENY)


def _allow_rules(profile: Profile, sets: SetBuilder, families: tuple[int, ...], way: Way) -> Iterator[Rule]:
    """Without doubles: two policies that allow the same thing cost one rule, noted under the first."""
    seen: set[tuple[Match, ...]] = set()
    action: Action = Goto(way.allowed)
    for rule in profile.rules:
        for matches, note in _matches(rule, sets, families, way):
            if matches not in seen:
                seen.add(matches)
                yield Rule(matches, action, rule.ref, note)


def _matches(
    rule: CompiledRule, sets: SetBuilder, families: tuple[int, ...], way: Way
) -> Iterator[tuple[tuple[Match, ...], str]]:
    for peer in (None,) if rule.peers is None else rule.peers:
        for port in (None,) if rule.ports is None else rule.ports:
            note = f"{_peer_text(peer)}, {_port_text(port)}"
            if peer is None and not isinstance(port, NamedPort):
                yield (() if port is None else (port_match(port, way.side),)), note
                continue
            for family in families:
                matches = _for_family(sets, peer, port, family, way)
                if matches is not None:
                    yield matches, note


def _for_family(
    sets: SetBuilder,
    peer: SelectorPeer | BlockPeer | None,
    port: PortRange | NamedPort | None,
    family: int,
    way: Way,
) -> tuple[Match, ...] | None:
    matches: list[Match] = []
    if isinstance(port, NamedPort) and way.direction == EGRESS:
        # The destination is the peer: one set of (address, protocol, number) says all.
        return (named_port_match(sets.named_port(port, family, peer), family, way.side),)
    if peer is not None:
        match = peer_match(sets, peer, family, way.side)
        if match is None:
            return None
        matches.append(match)
    if isinstance(port, NamedPort):
        matches.append(named_port_match(sets.own_named_port(port, family), family, way.side))
    elif port is not None:
        matches.append(port_match(port, way.side))
    return tuple(matches)


def _peer_text(peer: SelectorPeer | BlockPeer | None) -> str:
    return "any peer" if peer is None else peer.text


def _port_text(port: PortRange | NamedPort | None) -> str:
    if port is None:
        return "every port and protocol"
    if isinstance(port, NamedPort):
        return f"port {port.name}/{port.protocol}"
    if port.lo <= 0 and port.hi >= 65535:
        return f"every {port.protocol} port"
    numbers = str(port.lo) if port.lo == port.hi else f"{port.lo}-{port.hi}"
    return f"port {numbers}/{port.protocol}"
