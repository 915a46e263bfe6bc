"""What can be done to the table, one value for each thing, and transactions made of them.

``diff`` and ``patch`` make operations; ``nft`` writes them as text for the nft program and ``nfnetlink`` as netlink messages for the
kernel: two ways to say the same. A Batch is applied by the kernel as a whole or not at all. Pure values.
"""

from __future__ import annotations

import msgspec

from stockade.dataplane.ir import Chain, Counter, IdentityMap, KeyType, NamedSet, Rule, VerdictMap
from stockade.dataplane.names import REMEMBER


class AddTable(msgspec.Struct, frozen=True):
    """No error when it exists."""


class DeleteTable(msgspec.Struct, frozen=True):
    """With everything in it. Refused by the kernel when there is none: ``AddTable`` first."""


class AddSet(msgspec.Struct, frozen=True):
    """With its elements."""

    set: NamedSet


class AddMap(msgspec.Struct, frozen=True):
    """Without its elements: those of verdict maps name chains, which come later."""

    map: IdentityMap | VerdictMap


class AddGenerations(msgspec.Struct, frozen=True):
    """The map ``gen`` from marks to accept, with the batch's generation in it."""


class TurnGeneration(msgspec.Struct, frozen=True):
    """Connections of generation ``old`` are judged again; the batch's is in force."""

    old: int


class AddCounter(msgspec.Struct, frozen=True):
    """From zero."""

    counter: Counter


class AddChain(msgspec.Struct, frozen=True):
    """Without its rules."""

    chain: Chain


class FlushChain(msgspec.Struct, frozen=True):
    """Delete all its rules."""

    name: str


class AddRule(msgspec.Struct, frozen=True):
    """At the end of its chain."""

    chain: str
    rule: Rule


class AddElements(msgspec.Struct, frozen=True):
    """To the set ``name``: tuples as in NamedSet."""

    name: str
    key: tuple[KeyType, ...]
    elements: frozenset[tuple[int, ...]]


class DeleteElements(msgspec.Struct, frozen=True):
    """From the set ``name``; one that is not there fails the whole batch."""

    name: str
    key: tuple[KeyType, ...]
    elements: frozenset[tuple[int, ...]]


class MapElements(msgspec.Struct, frozen=True):
    """Add to the map ``name``. ``key`` is an address type and values are identities, or IDENTITY and values are chain names."""

    name: str
    key: KeyType
    elements: dict[int, int] | dict[int, str]


class UnmapElements(msgspec.Struct, frozen=True):
    """Take from the map ``name``; one that is not there fails the whole batch."""

    name: str
    key: KeyType
    elements: tuple[int, ...]


class DeleteChain(msgspec.Struct, frozen=True):
    """It must be flushed, and nobody may go there any more."""

    name: str


class DeleteSet(msgspec.Struct, frozen=True):
    """A set or map that no rule looks into any more."""

    name: str


class DeleteCounter(msgspec.Struct, frozen=True):
    """One that no rule uses any more."""

    name: str


Operation = (
    AddTable
    | DeleteTable
    | AddSet
    | AddMap
    | AddGenerations
    | TurnGeneration
    | AddCounter
    | AddChain
    | FlushChain
    | AddRule
    | AddElements
    | DeleteElements
    | MapElements
    | UnmapElements
    | DeleteChain
    | DeleteSet
    | DeleteCounter
)


class Batch(msgspec.Struct, frozen=True):
    """One atomic transaction. ``mark_mask`` and ``generation`` are what AddGenerations, TurnGeneration and ``Remember`` stand for."""

    operations: tuple[Operation, ...]
    mark_mask: int
    generation: int

    @property
    def elements_only(self) -> bool:
        """Nothing in it makes the kernel validate the table: no chain, and no rule but the one that carries the generation."""
        heavy = AddChain | AddTable | AddSet | AddMap
        return not any(
            isinstance(each, heavy) or (isinstance(each, AddRule) and each.chain != REMEMBER)
            for each in self.operations
        )


class Transaction(msgspec.Struct, frozen=True):
    """``batches`` in order, each atomic: usually one. See ``diff`` for when a change takes two or three. ``generation`` is the one in
    force after the last; ``bump``: a new one; ``full``: the table is made anew."""

    batches: tuple[Batch, ...]
    generation: int
    bump: bool = False
    full: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.batches
