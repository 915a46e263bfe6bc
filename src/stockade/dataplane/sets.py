"""Sets and matches of the peers and ports of rules. Called by ``chains``; a set is made when a rule first asks for it.

Names are content hashes, so equal selectors share one set whatever policy they stand in. Selector and named-port sets
are hash sets whose elements come and go with pods; interval sets never change, because their name is the hash of their ranges
(nft cannot add to or take from intervals that touch; reference dataplane, trap 2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property

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
from stockade.net.cidr import BITS
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import (
    BlockPeer,
    CompiledPolicies,
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


def digest(*parts: object) -> str:
    """12 hex digits that are equal for equal parts, in every process."""
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:12]


class SetBuilder:
    """Collects the sets of one ruleset. ``local`` are the programmed pods of this node."""

    def __init__(self, compiled: CompiledPolicies, local: Iterable[PodEntry]) -> None:
        self.sets: dict[str, NamedSet] = {}
        self._compiled = compiled
        self._local = tuple(local)

    def addresses(self, entry: PodEntry, family: int) -> Iterator[int]:
        """Addresses that belong to this pod and to no newer pod (a finished one may have left it behind)."""
        for own_family, address in entry.addresses:
            if own_family == family and self._compiled.by_address.get((family, address)) == entry.index:
                yield address

    def selector(self, peer: SelectorPeer, family: int) -> str:
        name = f"p{family}_{digest(peer.key)}"
        if name not in self.sets:
            chosen = (a for entry in self._pods(peer.pods) for a in self.addresses(entry, family))
            self._add(name, (ADDRESS_KEY[family],), ((a,) for a in chosen), peer.text)
        return name

    def block(self, peer: BlockPeer) -> str:
        name = f"b{peer.family}_{digest(*peer.ranges)}"
        self._add(name, (ADDRESS_KEY[peer.family],), iter(peer.ranges), peer.text, interval=True)
        return name

    def named_port(self, port: NamedPort, family: int, peer: SelectorPeer | BlockPeer | None) -> str:
        """Destination pods with the number their own containers give to ``port`` (rules 25-27)."""
        scope: object = "*"
        pods: Iterable[PodEntry] = self._everywhere
        if isinstance(peer, SelectorPeer):
            scope, pods = peer.key, self._pods(peer.pods)
        elif isinstance(peer, BlockPeer):
            scope = tuple(peer.ranges)
        ranges = peer.ranges if isinstance(peer, BlockPeer) else None
        text = "every pod" if peer is None else peer.text
        return self._ports("n", port, family, scope, (pods, ranges, text))

    def own_named_port(self, port: NamedPort, family: int) -> str:
        """The same for ingress, where the destination is a pod of this node."""
        return self._ports("o", port, family, "local", (self._local, None, "pods of this node"))

    def _ports(
        self,
        letter: str,
        port: NamedPort,
        family: int,
        scope: object,
        source: tuple[Iterable[PodEntry], RangeSet | None, str],
    ) -> str:
        pods, ranges, text = source
        name = f"{letter}{family}_{digest(scope, port.protocol, port.name)}"
        if name not in self.sets:
            elements = (
                (address, PROTOCOLS[port.protocol], number)
                for entry in pods
                for number in entry.named_ports.get((port.protocol, port.name), ())
                for address in self.addresses(entry, family)
                if ranges is None or address in ranges
            )
            key = (ADDRESS_KEY[family], KeyType.PROTOCOL, KeyType.SERVICE)
            self._add(name, key, elements, f"port {port.name}/{port.protocol} of {text}")
        return name

    def _add(
        self,
        name: str,
        key: tuple[KeyType, ...],
        elements: Iterable[tuple[int, ...]],
        note: str,
        *,
        interval: bool = False,
    ) -> None:
        if name not in self.sets:
            self.sets[name] = NamedSet(name, key, frozenset(elements), interval=interval, note=note)

    @cached_property
    def _everywhere(self) -> tuple[PodEntry, ...]:
        return tuple(entry for entry in self._compiled.pods if not entry.pod.on_host_network)

    def _pods(self, mask: int) -> Iterator[PodEntry]:
        while mask:
            lowest = mask & -mask
            yield self._compiled.pods[lowest.bit_length() - 1]
            mask ^= lowest


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
