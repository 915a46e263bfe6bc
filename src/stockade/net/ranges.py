"""RangeSet: an immutable set of integers kept as disjoint closed intervals; the algebra behind CIDRs and ports.

Union, intersection and difference are O(n + m); membership is O(log n).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Pair = tuple[int, int]


class RangeSet:
    """Disjoint, sorted, non-adjacent ``(low, high)`` pairs. Build with ``of``; every operation returns a new set."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self._pairs: tuple[Pair, ...] = tuple(_merge(pairs))

    @classmethod
    def of(cls, *pairs: Pair) -> RangeSet:
        return cls(pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __len__(self) -> int:
        """How many intervals (not how many integers)."""
        return len(self._pairs)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self._pairs, (value, float("inf"))) - 1
        return at >= 0 and self._pairs[at][1] >= value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"RangeSet({list(self._pairs)})"

    def __or__(self, other: RangeSet) -> RangeSet:
        return RangeSet((*self._pairs, *other._pairs))

    def __and__(self, other: RangeSet) -> RangeSet:
        return RangeSet(_intersect(self._pairs, other._pairs))

    def __sub__(self, other: RangeSet) -> RangeSet:
        return RangeSet(_subtract(self._pairs, other._pairs))


def _merge(pairs: Iterable[Pair]) -> Iterator[Pair]:
    ordered = sorted(pairs)
    if not ordered:
        return
    low, high = ordered[0]
    for next_low, next_high in ordered[1:]:
        if next_low <= high + 1:
            high = max(high, next_high)
        else:
            yield low, high
            low, high = next_low, next_high
    yield low, high


def _intersect(left: tuple[Pair, ...], right: tuple[Pair, ...]) -> Iterator[Pair]:
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            yield low, high
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


def _subtract(left: tuple[Pair, ...], right: tuple[Pair, ...]) -> Iterator[Pair]:
    j = 0
    for start, high in left:
        low = start
        while j < len(right) and right[j][1] < low:
            j += 1
        k = j
        while k < len(right) and right[k][0] <= high:
            if right[k][0] > low:
                yield low, right[k][0] - 1
            low = right[k][1] + 1
            k += 1
        if low <= high:
            yield low, high
