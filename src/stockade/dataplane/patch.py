"""What one change of pods does to the table, without the table: elements that come and go in sets and in maps of identities.

``live`` makes patches, ``plane`` programs them as ``transaction``s. A ruleset with patches applied is the ruleset that ``lower`` would make, so the whole value
need not exist at the moment of the change; who wants it (to compare, to repair) folds the patches in (``patched``). Pure values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from stockade.dataplane.diff import turn_generation
from stockade.dataplane.ir import IdentityMap, NamedSet, Ruleset, following
from stockade.dataplane.operations import (
    AddElements,
    Batch,
    DeleteElements,
    MapElements,
    Operation,
    Transaction,
    UnmapElements,
)

Elements = frozenset[tuple[int, ...]]


class SetChange(msgspec.Struct, frozen=True):
    """``gone`` are in the set, ``come`` are not."""

    come: Elements = frozenset()
    gone: Elements = frozenset()


class MapChange(msgspec.Struct, frozen=True):
    """Addresses that get an identity, and addresses that lose theirs. One in both changes from one to another."""

    come: dict[int, int] = {}
    gone: frozenset[int] = frozenset()


class Patch(msgspec.Struct, frozen=True):
    """By names of sets and of identity maps; never an empty change. ``stricter``: something may be denied that was allowed, so known
    connections must be judged again: the generation is raised in the same transaction."""

    sets: dict[str, SetChange] = {}
    identities: dict[str, MapChange] = {}
    stricter: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.sets or self.identities)

    @property
    def elements(self) -> int:
        """How many are added and taken away."""
        changes: tuple[SetChange | MapChange, ...] = (*self.sets.values(), *self.identities.values())
        return sum(len(each.come) + len(each.gone) for each in changes)


def transaction(patch: Patch, base: Ruleset, generation: int, *, bump: bool | None = None) -> Transaction:
    """One batch, for no patch brings or leaves an identity. ``base``: any ruleset that differs from the table in force by patches only.
    ``generation`` is the one in force; ``bump``: a new one, or not, whatever the patch; None: if it is stricter."""
    if bump is None:
        bump = patch.stricter
    current = following(generation, base.generations) if bump else generation
    carriers = turn_generation(base, generation) if bump else ()
    operations = (*carriers, *_operations(patch, base))
    batches = (Batch(operations, base.mark_mask, current),) if operations else ()
    return Transaction(batches, current, bump=bump)


def _operations(patch: Patch, base: Ruleset) -> Iterator[Operation]:
    """What goes before what comes: an address that changes its identity is in both."""
    for name, change in patch.sets.items():
        key = base.sets[name].key
        if change.gone:
            yield DeleteElements(name, key, change.gone)
        if change.come:
            yield AddElements(name, key, change.come)
    for name, moved in patch.identities.items():
        kind = base.identities[name].key
        if moved.gone:
            yield UnmapElements(name, kind, tuple(sorted(moved.gone)))
        if moved.come:
            yield MapElements(name, kind, moved.come)


def patched(ruleset: Ruleset, patches: Iterable[Patch]) -> Ruleset:
    """``ruleset`` after ``patches``, in order. What they do not touch is shared; a name that is not there is a KeyError."""
    members: dict[str, set[tuple[int, ...]]] = {}
    identities: dict[str, dict[int, int]] = {}
    for patch in patches:
        for name, change in patch.sets.items():
            if name not in members:
                members[name] = set(ruleset.sets[name].elements)
            members[name] -= change.gone
            members[name] |= change.come
        for name, moved in patch.identities.items():
            if name not in identities:
                identities[name] = dict(ruleset.identities[name].elements)
            for address in moved.gone:
                identities[name].pop(address, None)
            identities[name].update(moved.come)
    if not members and not identities:
        return ruleset
    return msgspec.structs.replace(
        ruleset,
        sets=_with_elements(ruleset.sets, {name: frozenset(found) for name, found in members.items()}),
        identities=_with_elements(ruleset.identities, identities),
    )


_Table = TypeVar("_Table", NamedSet, IdentityMap)


def _with_elements(tables: dict[str, _Table], elements: Mapping[str, object]) -> dict[str, _Table]:
    changed = {
        name: msgspec.structs.replace(tables[name], elements=found) for name, found in elements.items()
    }
    return {**tables, **changed}


def merged(*patches: Patch) -> Patch:
    """All in one: ``patched(r, [merged(a, b)]) == patched(r, [a, b])``. What a later one takes back is left out."""
    sets: dict[str, tuple[set[tuple[int, ...]], set[tuple[int, ...]]]] = {}
    maps: dict[str, tuple[dict[int, int], set[int]]] = {}
    for patch in patches:
        for name, change in patch.sets.items():
            come, gone = sets.setdefault(name, (set(), set()))
            _balance(come, gone, change.gone)
            _balance(gone, come, change.come)
        for name, moved in patch.identities.items():
            given, taken = maps.setdefault(name, ({}, set()))
            for address in moved.gone:
                if given.pop(address, None) is None:
                    taken.add(address)
            given.update(moved.come)
    return Patch(
        {
            name: SetChange(frozenset(come), frozenset(gone))
            for name, (come, gone) in sets.items()
            if come or gone
        },
        {name: MapChange(given, frozenset(taken)) for name, (given, taken) in maps.items() if given or taken},
        any(patch.stricter for patch in patches),
    )


def _balance(these: set[tuple[int, ...]], those: set[tuple[int, ...]], elements: Elements) -> None:
    """``elements`` in ``these`` are taken back, the others join ``those``."""
    back = elements & these
    these -= back
    those |= elements - back
