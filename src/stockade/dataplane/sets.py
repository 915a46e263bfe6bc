"""Sets and matches of the peers and ports of rules. Called by ``chains``; a set is made when a rule first asks for it.

Names are content hashes, so equal selectors share one set whatever policy they stand in. Selector and named-port sets
are hash sets whose elements come and go with pods; interval sets never change, because their name is the hash of their ranges
(nft cannot add to or take from intervals that touch; reference dataplane, trap 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from stockade.dataplane.ir import (
    PROTOCOLS,
    Field,
    IsFamily,
    IsProtocol,
    KeyType,
    Match,
    Member,
    NamedSet,
    PortWithin,
    Within,
)
from stockade.dataplane.names import digest
from stockade.net.cidr import BITS
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import (
    BlockPeer,
    NamedPort,
    PodEntry,
    PortRange,
    SelectorPeer,
)

ADDRESS_KEY = {4: KeyType.IPV4, 6: KeyType.IPV6}
ALL_PORTS = 65535


class Side(msgspec.Struct, frozen=True):
    """Which fields of a packet hold what: the peer, the destination of the connection, and its port."""

    peer: dict[int, Field]
    destination: dict[int, Field]
    port: Field


_SOURCE = {4: Field.SADDR4, 6: Field.SADDR6}
_DESTINATION = {4: Field.DADDR4, 6: Field.DADDR6}
EGRESS_SIDE = Side(_DESTINATION, _DESTINATION, Field.DPORT)
INGRESS_SIDE = Side(_SOURCE, _DESTINATION, Field.DPORT)
EGRESS_REPLY_SIDE = Side(_SOURCE, _SOURCE, Field.SPORT)
INGRESS_REPLY_SIDE = Side(_DESTINATION, _SOURCE, Field.SPORT)


Element = tuple[int, ...]
Suffix = tuple[int, ...]  # what follows the address in an element: nothing, or protocol and port


class Source(msgspec.Struct, frozen=True):
    """Where elements of a set come from: the addresses of the pods that ``peer`` selects (None: every pod), each with every one of
    ``suffixes``, or with the numbers that the pod's containers give to ``port``; with ``local`` of this node's pods only; with
    ``within`` only addresses in these ranges."""

    peer: SelectorPeer | None
    suffixes: tuple[Suffix, ...] = ((),)
    port: NamedPort | None = None
    local: bool = False
    within: RangeSet | None = None

    def elements(self, entry: PodEntry, addresses: Iterable[int]) -> Iterator[Element]:
        """Of one selected pod, whose ``addresses`` are of the set's family."""
        suffixes: Iterable[Suffix] = self.suffixes
        if self.port is not None:
            protocol = PROTOCOLS[self.port.protocol]
            numbers = entry.named_ports.get((self.port.protocol, self.port.name), ())
            suffixes = [(protocol, number) for number in numbers]
        for address in addresses:
            if self.within is None or address in self.within:
                yield from ((address, *suffix) for suffix in suffixes)


class Pods(Protocol):
    """Who knows the pods: all of a compiled form (``members``), or an index of them (``live``)."""

    def elements(self, source: Source, family: int) -> frozenset[Element]:
        """Of every pod that ``source`` speaks of."""


class SetBuilder:
    """Collects the sets of one ruleset, and in ``sources`` what the elements of each are made from (interval sets have none: they
    do not depend on pods)."""

    def __init__(self, pods: Pods) -> None:
        self.sets: dict[str, NamedSet] = {}
        self.sources: dict[str, tuple[Source, ...]] = {}
        self.asked: set[str] = set()  # names given out since somebody cleared it
        self._pods = pods
        self._selectors: dict[tuple[str, int], str] = {}

    def selector(self, peer: SelectorPeer, family: int) -> str:
        name = self._selectors.get((peer.key, family))
        if name is None:  # asked for again with each port and policy
            name = self._made(f"p{family}_{digest(peer.key)}", family, (Source(peer),), peer.text)
            self._selectors[peer.key, family] = name
        self.asked.add(name)
        return name

    def union(self, peers: Iterable[SelectorPeer], family: int) -> str:
        """Pods that any of ``peers`` selects."""
        by_key = {peer.key: peer for peer in peers}
        if len(by_key) == 1:
            return self.selector(next(iter(by_key.values())), family)
        chosen = [by_key[key] for key in sorted(by_key)]
        name = f"u{family}_{digest(*sorted(by_key))}"
        text = " or ".join(peer.text for peer in chosen)
        return self._made(name, family, tuple(Source(peer) for peer in chosen), text)

    def folded(self, pairs: dict[str, tuple[SelectorPeer, frozenset[Suffix]]], family: int) -> str:
        """(address, protocol, port) for each selector key: its pods with its ports."""
        sources = tuple(Source(peer, tuple(sorted(ports))) for _, (peer, ports) in sorted(pairs.items()))
        name = f"f{family}_{digest(*((s.peer.key, s.suffixes) for s in sources if s.peer))}"
        text = "; ".join(f"{s.peer.text}, {_ports_text(s.suffixes)}" for s in sources if s.peer)
        return self._made(name, family, sources, text)

    def block(self, peer: BlockPeer) -> str:
        name = f"b{peer.family}_{digest(*peer.ranges)}"
        if name not in self.sets:
            elements = frozenset(peer.ranges)
            key = (ADDRESS_KEY[peer.family],)
            self.sets[name] = NamedSet(name, key, elements, interval=True, note=peer.text)
        self.asked.add(name)
        return name

    def named_port(self, port: NamedPort, family: int, peer: SelectorPeer | BlockPeer | None) -> str:
        """Destination pods with the number their own containers give to ``port`` (rules 25-27)."""
        selector = peer if isinstance(peer, SelectorPeer) else None
        ranges = peer.ranges if isinstance(peer, BlockPeer) else None
        scope: object = "*" if ranges is None else tuple(ranges)
        if selector is not None:
            scope = selector.key
        name = f"n{family}_{digest(scope, port.protocol, port.name)}"
        text = f"port {port.name}/{port.protocol} of {'every pod' if peer is None else peer.text}"
        return self._made(name, family, (Source(selector, port=port, within=ranges),), text)

    def own_named_port(self, port: NamedPort, family: int) -> str:
        """The same for ingress, where the destination is a pod of this node."""
        name = f"o{family}_{digest('local', port.protocol, port.name)}"
        text = f"port {port.name}/{port.protocol} of pods of this node"
        return self._made(name, family, (Source(None, port=port, local=True),), text)

    def _made(self, name: str, family: int, sources: tuple[Source, ...], note: str) -> str:
        if name not in self.sets:
            ports = sources[0].port is not None or sources[0].suffixes != ((),)
            key = (ADDRESS_KEY[family], KeyType.PROTOCOL, KeyType.SERVICE)[: 3 if ports else 1]
            elements: frozenset[Element] = frozenset().union(
                *(self._pods.elements(source, family) for source in sources)
            )
            self.sets[name] = NamedSet(name, key, elements, note=note)
            self.sources[name] = sources
        self.asked.add(name)
        return name


def _ports_text(suffixes: Iterable[Suffix]) -> str:
    """``8001-8018/TCP, 53/UDP``."""
    names = {number: name for name, number in PROTOCOLS.items()}
    ports: dict[int, list[int]] = {}
    for protocol, port in suffixes:
        ports.setdefault(protocol, []).append(port)
    runs = ((low, high, p) for p, own in ports.items() for low, high in RangeSet((n, n) for n in own))
    return ", ".join(f"{low if low == high else f'{low}-{high}'}/{names[p]}" for low, high, p in runs)


def peer_match(sets: SetBuilder, peer: SelectorPeer | BlockPeer, family: int, side: Side) -> Match | None:
    """None: no address of this family can match."""
    field = side.peer[family]
    if isinstance(peer, SelectorPeer):
        return Member((field,), sets.selector(peer, family))
    if peer.family != family or not peer.ranges:
        return None
    if len(peer.ranges) > 1:
        return Member((field,), sets.block(peer))
    low, high = next(iter(peer.ranges))
    if (low, high) == (0, 2 ** BITS[family] - 1):
        return IsFamily(family)
    return Within(field, low, high)


def port_match(port: PortRange, side: Side) -> Match:
    protocol = PROTOCOLS[port.protocol]
    if port.lo <= 0 and port.hi >= ALL_PORTS:
        return IsProtocol(protocol)
    return PortWithin(protocol, side.port, port.lo, port.hi)


def named_port_match(set_name: str, family: int, side: Side) -> Match:
    return Member((side.destination[family], Field.PROTOCOL, side.port), set_name)
