"""What single pods put into the table: elements of sets, identities. Called by ``live.rules``, for pods as they were and as they are.

``lower`` fills each set from all pods; here it is the other way round: the sets of one pod, found by the selections it is in. Elements come
from the same ``sets.Source`` in both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from stockade.dataplane.identity import Pair
from stockade.dataplane.ir import NamedSet
from stockade.dataplane.live.memberships import Memberships
from stockade.dataplane.patch import MapChange, SetChange
from stockade.dataplane.sets import Source
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.net.cidr import Address
from stockade.policy.compiled import PodEntry
from stockade.policy.entries import named_ports

FAMILIES = (4, 6)


class LocalPod(msgspec.Struct, frozen=True):
    """A pod of this node as the rules know it: the addresses that are its own, and the ids of its profiles."""

    pod: Pod
    addresses: tuple[Address, ...]
    pair: Pair = ("", "")


class Part:
    """What some pods have to do with the table."""

    def __init__(self) -> None:
        self.sets: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)
        self.local: dict[ObjectRef, LocalPod] = {}

    @property
    def pairs(self) -> Counter[Pair]:
        return Counter(each.pair for each in self.local.values())


class _Place(msgspec.Struct, frozen=True):
    """One source of the set ``name``, whose addresses are of ``family``; ``alone``: these addresses and nothing else."""

    name: str
    family: int
    source: Source
    alone: bool


class Shares:
    """For the sets of one ruleset, and what they are made from."""

    def __init__(
        self, sources: Mapping[str, tuple[Source, ...]], sets: Mapping[str, NamedSet], node: str
    ) -> None:
        self._node = node
        self._selected: defaultdict[str, list[_Place]] = defaultdict(list)
        self._every: list[_Place] = []
        self._own: list[_Place] = []
        for name, found in sources.items():
            family = sets[name].key[0].family or 4
            for source in found:
                self._places_of(source).append(_Place(name, family, source, source == Source(source.peer)))

    def _places_of(self, source: Source) -> list[_Place]:
        if source.local:
            return self._own
        return self._every if source.peer is None else self._selected[source.peer.key]

    def add(self, part: Part, pod: Pod, addresses: tuple[Address, ...], memberships: Memberships) -> None:
        """``addresses`` are those that are its own; a finished pod has none, nor has one on the host's network."""
        if not addresses:
            return
        local = pod.spec.node_name == self._node
        if local:
            for family, address in addresses:
                part.sets[f"self{family}"].add((address, address))
        entry = PodEntry(0, pod, addresses, named_ports(pod), None, None)
        values = {family: [a for own, a in addresses if own == family] for family in FAMILIES}
        singles = {family: [(a,) for a in values[family]] for family in FAMILIES}
        sets = part.sets
        for place in self._places(memberships.of(pod).selections, local=local):
            family = place.family
            if place.alone:
                sets[place.name].update(singles[family])
            else:
                sets[place.name].update(place.source.elements(entry, values[family]))

    def _places(self, selections: Iterable[str], *, local: bool) -> Iterator[_Place]:
        selected = self._selected
        for key in selections:
            if key in selected:
                yield from selected[key]
        yield from self._every
        if local:
            yield from self._own


def set_changes(old: Part, new: Part) -> Iterator[tuple[str, SetChange]]:
    """Only what differs."""
    for name in dict.fromkeys((*old.sets, *new.sets)):
        before, after = old.sets.get(name, set()), new.sets.get(name, set())
        if before != after:
            yield name, SetChange(frozenset(after - before), frozenset(before - after))


def map_changes(
    old: Part, new: Part, before: Mapping[Pair, int], after: Mapping[Pair, int]
) -> Iterator[tuple[str, MapChange]]:
    """Only what differs. ``before`` and ``after``: the numbers of the pairs."""
    was, now = _numbered(old, before), _numbered(new, after)
    for family in FAMILIES:
        held, wanted = was[family], now[family]
        if held != wanted:
            come = {address: number for address, number in wanted.items() if held.get(address) != number}
            gone = frozenset(address for address, number in held.items() if wanted.get(address) != number)
            yield f"id{family}", MapChange(come, gone)


def _numbered(part: Part, numbers: Mapping[Pair, int]) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {family: {} for family in FAMILIES}
    for each in part.local.values():
        for family, address in each.addresses:
            found[family][address] = numbers[each.pair]
    return found
