"""What the kernel lists, as values."""

from __future__ import annotations

import pytest

from stockade.dataplane.ir import AcceptKnown, Chain, Drop, Field, Goto, Hook, KeyType, Member, NamedSet, Rule
from stockade.dataplane.netlink import Message, attribute, attribute_map, attributes, be32
from stockade.dataplane.nfnetlink import listing, objects
from stockade.dataplane.nfnetlink import wire as w
from stockade.dataplane.nfnetlink.elements import accepting, map_elements
from stockade.dataplane.nfnetlink.rules import Mark, encode_rule

MARK = Mark(0x00FF0000, 9)
RULE = Rule((Member((Field.SADDR4,), "p4"),), Goto("x"), counter="c")


def message(body: bytes) -> Message:
    return Message(0, 0, 0, body)


def test_the_mask_is_read_from_the_rule_that_asks_the_map():
    assert listing.mask_of(encode_rule(Rule((), AcceptKnown()), MARK)) == 0x00FF0000
    assert listing.mask_of(encode_rule(Rule((), AcceptKnown(), counter="c"), MARK)) is None
    assert listing.mask_of(encode_rule(RULE, MARK)) is None
    assert listing.mask_of(b"") is None


def test_one_generation_is_in_force():
    def listed(*elements: bytes) -> list[Message]:
        return [message(objects.elements_of("gen") + attribute(w.ELEMENTS_LIST, b"".join(elements)))]

    current, stale = accepting(0x00090000), accepting(0x00080000)
    (going,) = map_elements(KeyType.IDENTITY, {0x00090000: "end"})
    assert listing.generation(listed(current), 0x00FF0000) == 9
    for elements in ((), (current, stale), (going,), (accepting(0x00090001),)):
        with pytest.raises(listing.Foreign):
            listing.generation(listed(*elements), 0x00FF0000)


def rebuilt(expressions: bytes, change) -> bytes:
    """The expressions with every attribute passed through ``change(name, kind, value)``, which gives bytes."""
    found = []
    for _, step in attributes(expressions):
        parts = attribute_map(step)
        inner = b"".join(change(parts[1], kind, value) for kind, value in attributes(parts[2]))
        found.append(w.container(w.LIST_ELEMENT, attribute(1, parts[1]), attribute(2, inner)))
    return b"".join(found)


def test_a_kernel_that_lists_more_or_leaves_out_zeros_lists_the_same_rule():
    sent = encode_rule(RULE, MARK)
    assert listing.same_rule(sent, sent)
    assert rebuilt(sent, lambda _name, kind, value: attribute(kind, value)) == sent
    more = rebuilt(sent, lambda _name, kind, value: attribute(kind, value) + be32(99, 7))
    assert more != sent
    assert listing.same_rule(sent, more)
    less = rebuilt(sent, lambda _name, kind, value: attribute(kind, value) if any(value) else b"")
    assert listing.same_rule(sent, less)


@pytest.mark.parametrize(
    "other",
    [
        Rule((Member((Field.SADDR4,), "p5"),), Goto("x"), counter="c"),
        Rule((Member((Field.DADDR4,), "p4"),), Goto("x"), counter="c"),
        Rule((Member((Field.SADDR4,), "p4", negated=True),), Goto("x"), counter="c"),
        Rule((Member((Field.SADDR4,), "p4"),), Goto("y"), counter="c"),
        Rule((Member((Field.SADDR4,), "p4"),), Drop(), counter="c"),
        Rule((Member((Field.SADDR4,), "p4"),), Goto("x"), counter="d"),
        Rule((Member((Field.SADDR4,), "p4"),), Goto("x")),
    ],
)
def test_another_rule_is_another_rule(other: Rule):
    assert not listing.same_rule(encode_rule(RULE, MARK), encode_rule(other, MARK))
    assert not listing.same_rule(encode_rule(other, MARK), encode_rule(RULE, MARK))


def test_heads_of_sets_come_back():
    for key, interval in (
        ((KeyType.IPV4,), True),
        ((KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE), False),
    ):
        head = listing.set_head(
            message(objects.new_set(NamedSet("s", key, frozenset(), interval=interval), 1))
        )
        assert head == listing.SetHead("s", key, interval, None)


@pytest.mark.parametrize(
    "change",
    [
        be32(w.SET_FLAGS, 0x10),  # timeouts
        be32(w.SET_KEY_TYPE, 9),  # ether_addr
        be32(w.SET_FLAGS, w.SET_F_MAP) + be32(w.SET_DATA_TYPE, 13),
    ],
)
def test_sets_we_never_make_are_foreign(change: bytes):
    body = objects.new_set(NamedSet("s", (KeyType.IPV4,), frozenset()), 1)
    with pytest.raises(listing.Foreign, match=r"s "):
        listing.set_head(message(body + change))


def test_chains_come_back_and_others_are_foreign():
    chain = Chain("fwd_hook", (), hook=Hook("forward", -10))
    body = objects.new_chain(chain)
    assert listing.chain(message(body)) == chain
    assert listing.chain(message(objects.new_chain(Chain("e_x", ())))) == Chain("e_x", ())
    with pytest.raises(listing.Foreign):
        listing.chain(message(body + be32(w.CHAIN_POLICY, 0)))
