"""The pods of a compiled form as elements of sets. Called by ``sets`` for each set that ``lower`` makes.

Half a million elements in half a second: what one pod contributes is worked out once, and bitmasks choose among these by ``compress``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, compress
from typing import TypeVar

from stockade.dataplane.sets import Element, Source
from stockade.policy.compiled import CompiledPolicies, NamedPort, PodEntry
from stockade.policy.selection import bits

T = TypeVar("T")
_FLAGS = bytes.maketrans(b"01", b"\0\1")
_FEW = 32  # when at most one pod in so many is chosen: look at these only


class Members:
    """``local`` are the programmed pods of this node."""

    def __init__(self, compiled: CompiledPolicies, local: Iterable[PodEntry]) -> None:
        self._entries = compiled.pods
        self._owners = compiled.by_address
        self._local = tuple(entry.index for entry in local)
        self._tables: dict[tuple[NamedPort | None, int], tuple[tuple[Element, ...], ...]] = {}
        self._selections: dict[tuple[str, int], frozenset[Element]] = {}

    def addresses(self, entry: PodEntry, family: int) -> tuple[int, ...]:
        """Addresses that belong to this pod and to no newer pod (a finished one may have left it behind)."""
        owners, index = self._owners, entry.index
        return tuple(a for own, a in entry.addresses if own == family and owners.get((own, a)) == index)

    def elements(self, source: Source, family: int) -> frozenset[Element]:
        if source.suffixes != ((),):  # ports of its own: nothing that another set could use
            pods = self._chosen(source, self._entries)
            return frozenset(e for pod in pods for e in source.elements(pod, self.addresses(pod, family)))
        if source.peer is None or source.port is not None or source.within is not None:
            return self._found(source, family)
        key = source.peer.key, family  # unions ask for what selector sets have
        if key not in self._selections:
            self._selections[key] = self._found(source, family)
        return self._selections[key]

    def _found(self, source: Source, family: int) -> frozenset[Element]:
        found = chain.from_iterable(self._chosen(source, self._table(source.port, family)))
        if source.within is None:
            return frozenset(found)
        return frozenset(element for element in found if element[0] in source.within)

    def _table(self, port: NamedPort | None, family: int) -> tuple[tuple[Element, ...], ...]:
        """For each pod by index what it contributes where it is chosen. Nothing, on the host's network."""
        if (port, family) not in self._tables:
            alone = Source(None, port=port)
            self._tables[port, family] = tuple(
                tuple(alone.elements(entry, self.addresses(entry, family))) for entry in self._entries
            )
        return self._tables[port, family]

    def _chosen(self, source: Source, table: tuple[T, ...]) -> Iterable[T]:
        if source.local:
            return (table[index] for index in self._local)
        if source.peer is None:
            return table
        mask = source.peer.pods
        if mask.bit_count() * _FEW < len(table):
            return (table[index] for index in bits(mask))
        flags = bin(mask)[:1:-1].encode().translate(_FLAGS)  # the lowest bit first, without the leading 0b
        return compress(table, flags)
