"""What single pods put into the table: elements of sets, identities. Called by ``live.rules``, for pods as they were and as they are.

``lower`` fills each set from all pods; here it is the other way round: the sets of one pod, found by the selections it is in. Elements come
from the same ``sets.Source`` in both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from stockade.dataplane.identity import Pair
from stockade.dataplane.live.memberships import Membership, Memberships
from stockade.dataplane.lower import Lowered
from stockade.dataplane.patch import MapChange, SetChange
from stockade.dataplane.sets import Source
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.model.objects import Pod
from stockade.net.cidr import Address
from stockade.policy.compiled import CompiledPolicies, PodEntry
from stockade.policy.entries import named_ports

_UNKNOWN = "?"  # no profile has this id


class LocalPod(msgspec.Struct, frozen=True):
    """A pod of this node as the rules know it: the addresses that are its own."""

    pod: Pod
    addresses: tuple[Address, ...]


class Part:
    """What some pods put into the table together."""

    def __init__(self) -> None:
        self.sets: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)
        self.identities: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self.pairs: Counter[Pair] = Counter()
        self.local: dict[ObjectRef, LocalPod] = {}


class _Place(msgspec.Struct, frozen=True):
    """One source of the set ``name``, whose addresses are of ``family``."""

    name: str
    family: int
    source: Source


class Shares:
    """For one compiled form and what was lowered from it."""

    def __init__(
        self, compiled: CompiledPolicies, lowered: Lowered, memberships: Memberships, node: str
    ) -> None:
        self._memberships = memberships
        self._node = node
        self._numbers = lowered.pairs
        self._profiles: dict[tuple[str, tuple[ObjectRef, ...]], str] = {(EGRESS, ()): "", (INGRESS, ()): ""}
        for entry in compiled.pods:
            for profile in (entry.egress, entry.ingress):
                if profile is not None:
                    self._profiles[profile.direction, profile.policies] = profile.id
        self._selected: defaultdict[str, list[_Place]] = defaultdict(list)
        self._every: list[_Place] = []
        self._own: list[_Place] = []
        for name, sources in lowered.sources.items():
            family = lowered.ruleset.sets[name].key[0].family or 4
            for source in sources:
                self._places_of(source).append(_Place(name, family, source))

    def _places_of(self, source: Source) -> list[_Place]:
        if source.local:
            return self._own
        return self._every if source.peer is None else self._selected[source.peer.key]

    def add(self, part: Part, pod: Pod, addresses: tuple[Address, ...]) -> None:
        """``addresses`` are those that are its own. A finished pod has no part in anything, nor has one on the host's network."""
        if pod.is_finished or pod.on_host_network:
            return
        member = self._memberships.of(pod)
        local = pod.spec.node_name == self._node
        if local:
            self._add_local(part, pod, addresses, member)
        if not addresses:
            return
        entry = PodEntry(0, pod, addresses, named_ports(pod), None, None)
        by_family = {family: [a for own, a in addresses if own == family] for family in (4, 6)}
        for place in self._places(member, local=local):
            found = tuple(place.source.elements(entry, by_family[place.family]))
            if found:
                part.sets[place.name].update(found)

    def _places(self, member: Membership, *, local: bool) -> Iterator[_Place]:
        selected = self._selected
        for key in member.selections:
            if key in selected:
                yield from selected[key]
        yield from self._every
        if local:
            yield from self._own

    def _add_local(self, part: Part, pod: Pod, addresses: tuple[Address, ...], member: Membership) -> None:
        pair = (
            self._profiles.get((EGRESS, member.egress), _UNKNOWN),
            self._profiles.get((INGRESS, member.ingress), _UNKNOWN),
        )
        part.pairs[pair] += 1
        if addresses:
            part.local[pod.ref] = LocalPod(pod, addresses)
        for family, address in addresses:
            part.identities[f"id{family}"][address] = self._numbers.get(pair, 0)
            part.sets[f"self{family}"].add((address, address))


def set_changes(old: Part, new: Part) -> Iterator[tuple[str, SetChange]]:
    """Only what differs."""
    for name in _names(old.sets, new.sets):
        before, after = old.sets.get(name, set()), new.sets.get(name, set())
        if before != after:
            yield name, SetChange(frozenset(after - before), frozenset(before - after))


def map_changes(old: Part, new: Part) -> Iterator[tuple[str, MapChange]]:
    """Only what differs."""
    for name in _names(old.identities, new.identities):
        before, after = old.identities.get(name, {}), new.identities.get(name, {})
        if before != after:
            come = {address: number for address, number in after.items() if before.get(address) != number}
            gone = frozenset(a for a, number in before.items() if after.get(a) != number)
            yield name, MapChange(come, gone)


def _names(old: Iterable[str], new: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys((*old, *new))
