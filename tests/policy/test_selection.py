"""The inverted index must choose exactly what LabelSelector.matches chooses."""

from __future__ import annotations

import itertools

import pytest

from stockade.model.selectors import LabelSelector, LabelSelectorRequirement
from stockade.policy.selection import LabelIndex, bits, is_valid, valid_part

LABELS = [{}, {"a": ""}, {"a": "1"}, {"a": "2"}, {"a": "1", "b": "1"}, {"b": "2"}, None]
REQUIREMENTS = [
    LabelSelectorRequirement(key=key, operator=operator, values=values)
    for key in "abc"
    for operator, values in [("In", ["1", ""]), ("NotIn", ["1"]), ("Exists", None), ("DoesNotExist", None)]
]


@pytest.mark.parametrize(
    "pair", list(itertools.combinations(REQUIREMENTS, 2)), ids=lambda pair: f"{pair[0]},{pair[1]}"
)
def test_the_index_agrees_with_the_matcher(pair):
    index = LabelIndex(LABELS)
    for match_labels in (None, {"a": "1"}, {"a": "", "b": "1"}):
        selector = LabelSelector(match_labels=match_labels, match_expressions=list(pair))
        expected = [at for at, labels in enumerate(LABELS) if labels is not None and selector.matches(labels)]
        assert list(bits(index.select(selector))) == expected


def test_things_without_a_place_in_the_index_are_never_chosen():
    assert list(bits(LabelIndex([{"a": "1"}, None, {}]).select(LabelSelector()))) == [0, 2]


def test_the_valid_part_chooses_at_least_what_was_meant():
    good = LabelSelectorRequirement(key="a", operator="Exists")
    bad = LabelSelectorRequirement(key="a", operator="Gt", values=["1"])
    selector = LabelSelector(match_expressions=[good, bad])
    assert not is_valid(selector)
    assert valid_part(selector).match_expressions == [good]
    assert is_valid(valid_part(selector))
    assert is_valid(None)
