"""Which of many selectors choose this one thing? The reverse of ``policy.selection``, which asks which things one selector chooses.

In: pairs of a selector and whatever it stands for. Out: for the labels of one pod, the values whose selector matches. A selector is
filed under the rarest label that it cannot do without, so a pod meets the few selectors that name one of its labels and the fewer that
name none; each of these is then asked itself (``LabelSelector.matches``). Called by ``memberships``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from stockade.model.selectors import EXISTS, IN, LabelSelector

T = TypeVar("T")
_Term = Hashable  # (key, value) of a label, or its key alone


class SelectorIndex(Generic[T]):
    """Immutable after construction. ``None`` for a selector means everything."""

    def __init__(self, entries: Iterable[tuple[LabelSelector | None, T]]) -> None:
        self._always: list[tuple[LabelSelector, T]] = []
        self._everything: list[T] = []
        self._by_term: dict[_Term, list[tuple[LabelSelector, T]]] = {}
        choices = []
        for selector, value in entries:
            if selector is None or selector.is_empty:
                self._everything.append(value)
            else:
                choices.append((_needed(selector), selector, value))
        popular = Counter(term for needed, _, _ in choices for terms in needed for term in terms)
        for needed, selector, value in choices:
            self._file(needed, popular, selector, value)

    def _file(
        self, needed: list[tuple[_Term, ...]], popular: Counter[_Term], selector: LabelSelector, value: T
    ) -> None:
        if not needed:
            self._always.append((selector, value))
            return
        for term in min(needed, key=lambda terms: sum(popular[term] for term in terms)):
            self._by_term.setdefault(term, []).append((selector, value))

    def matching(self, labels: Mapping[str, str]) -> Iterator[T]:
        """In no order, none twice."""
        yield from self._everything
        yield from (value for selector, value in self._always if selector.matches(labels))
        by_term = self._by_term
        for pair in labels.items():
            for term in (pair, pair[0]):
                for selector, value in by_term.get(term, ()):
                    if selector.matches(labels):
                        yield value


def _needed(selector: LabelSelector) -> list[tuple[_Term, ...]]:
    """Alternatives: of each tuple at least one term must hold. A thing has one value for a key, so never two terms of one tuple."""
    needed: list[tuple[_Term, ...]] = [(pair,) for pair in (selector.match_labels or {}).items()]
    for requirement in selector.match_expressions or []:
        if requirement.operator == IN:
            needed.append(
                tuple((requirement.key, value) for value in dict.fromkeys(requirement.values or []))
            )
        elif requirement.operator == EXISTS:
            needed.append((requirement.key,))
    return needed
