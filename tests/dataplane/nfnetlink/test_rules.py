"""Rules as expressions, without a kernel. That they are what nft writes is the matter of ``tests/kernel/test_nfnetlink.py``."""

from __future__ import annotations

import pytest

from stockade.dataplane.ir import (
    Accept,
    AcceptKnown,
    Drop,
    Field,
    Goto,
    HopLimit,
    Identify,
    IsFamily,
    IsProtocol,
    Member,
    PortWithin,
    Reject,
    RejectCode,
    Remember,
    Rule,
    Within,
)
from stockade.dataplane.netlink import attribute_map, attributes, text
from stockade.dataplane.nfnetlink import expressions as e
from stockade.dataplane.nfnetlink.rules import Mark, encode_rule

MARK = Mark(0xFF000000, 3)


def names(rule: Rule) -> list[str]:
    return [text(attribute_map(step)[1]) for _, step in attributes(encode_rule(rule, MARK))]


def test_a_dependency_is_tested_once():
    rule = Rule((Member((Field.SADDR4,), "a"), Member((Field.DADDR4,), "b", negated=True)), Drop())
    assert names(rule) == ["meta", "cmp", "payload", "lookup", "payload", "lookup", "immediate"]
    ports = (PortWithin(6, Field.SPORT, 1, 1), PortWithin(6, Field.DPORT, 2, 9))
    assert names(Rule(ports, Drop())).count("meta") == 1
    assert names(Rule((IsProtocol(6), *ports), Drop())) == names(Rule(ports, Drop()))
    assert names(Rule((IsFamily(4), *rule.matches), Drop())) == names(rule)
    assert names(Rule((*rule.matches, HopLimit(255)), Drop())).count("meta") == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0x0A000000, 0x0AFFFFFF, ["payload", "cmp"]),
        (0x0A000000, 0x0A7FFFFF, ["payload", "bitwise", "cmp"]),
        (0x0A000001, 0x0A000001, ["payload", "cmp"]),
        (0x0A000001, 0x0A000002, ["payload", "cmp", "cmp"]),
        (0, 0xFFFFFFFF, ["payload", "bitwise", "cmp"]),
    ],
)
def test_blocks_are_compared_the_cheapest_way(low: int, high: int, expected: list[str]):
    assert names(Rule((Within(Field.SADDR4, low, high),), Drop())) == ["meta", "cmp", *expected, "immediate"]


def test_the_counter_stands_between_matches_and_action():
    rule = Rule((PortWithin(6, Field.DPORT, 80, 80),), Goto("x"), counter="c")
    assert names(rule)[-3:] == ["cmp", "objref", "immediate"]
    bare = Rule((), Reject(RejectCode.TCP_RESET), counter="c")
    assert names(bare) == ["meta", "cmp", "objref", "reject"]  # what is not rejected is not counted
    assert names(Rule((), Identify(Field.SADDR4, "id4", "x"), counter="c"))[0] == "objref"


def test_concatenations_fill_whole_registers():
    three = encode_rule(Rule((Member((Field.SADDR6, Field.PROTOCOL, Field.DPORT), "n"),), Drop()), MARK)
    targets = []
    for _, step in attributes(three):
        parts = attribute_map(step)
        if text(parts[1]) in {"payload", "meta"}:
            targets.append(int.from_bytes(attribute_map(parts[2])[1], "big"))
    assert targets[1:] == [e.register(0), e.register(4), e.register(5)] == [1, 2, 13]


def test_addresses_of_both_families_are_refused():
    with pytest.raises(ValueError, match="one family"):
        encode_rule(Rule((Member((Field.SADDR4, Field.DADDR6), "x"),), Drop()), MARK)


@pytest.mark.parametrize(("mask", "generation"), [(0xFF000000, 0), (0xFF000000, 256), (0x0F, 16)])
def test_a_generation_must_fit_the_mask(mask: int, generation: int):
    with pytest.raises(ValueError, match="does not fit"):
        Mark(mask, generation)


def test_only_what_is_remembered_knows_the_generation():
    other = Mark(0xFF000000, 4)
    assert encode_rule(Rule((), Remember()), MARK) != encode_rule(Rule((), Remember()), other)
    plain = Rule((Member((Field.SADDR4,), "a"),), Accept(forget=True))
    for rule in (plain, Rule((), AcceptKnown()), Rule((), Goto("x", forget=True))):
        assert encode_rule(rule, MARK) == encode_rule(rule, other)
    assert encode_rule(Rule((), AcceptKnown()), Mark(0xF, 3)) != encode_rule(Rule((), AcceptKnown()), MARK)
