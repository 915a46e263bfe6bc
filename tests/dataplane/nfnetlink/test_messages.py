"""Transactions as datagrams, and refusals as words."""

from __future__ import annotations

import pytest

from stockade.dataplane.ir import Accept, Chain, Counter, Goto, Hook, KeyType, NamedSet, Rule
from stockade.dataplane.netlink import NLM_F_ACK, attribute_map, decode
from stockade.dataplane.nfnetlink.elements import set_elements
from stockade.dataplane.nfnetlink.messages import TableFlags, encode
from stockade.dataplane.nfnetlink.refusal import explain
from stockade.dataplane.nfnetlink.wire import BATCH_BEGIN, BATCH_END, NFGEN_SIZE, TABLE_FLAGS, Kind
from stockade.dataplane.operations import (
    AddChain,
    AddCounter,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Batch,
    DeleteElements,
    DeleteTable,
    FlushChain,
)

MASK = 0xFF000000


def batch(*operations) -> Batch:
    return Batch(operations, MASK, 1)


def test_one_datagram_begins_and_ends():
    chain = Chain("c", (), hook=Hook("forward", -10))
    encoded = encode(batch(AddTable(), AddChain(chain), AddRule("c", Rule((), Accept()))))
    messages = list(decode(encoded.datagram(77)))
    kinds = [each.kind for each in messages]
    assert kinds == [BATCH_BEGIN, Kind.NEWTABLE, Kind.NEWCHAIN, Kind.NEWRULE, BATCH_END]
    assert [each.sequence for each in messages] == [0, 1, 2, 3, 4]
    assert attribute_map(messages[0].body, NFGEN_SIZE)[1] == (77).to_bytes(4, "big")
    assert [bool(each.flags & NLM_F_ACK) for each in messages] == [False, False, False, True, False]
    assert attribute_map(next(decode(encoded.datagram(0))).body, NFGEN_SIZE) == {}


def test_nothing_is_a_transaction_too():
    assert [each.kind for each in decode(encode(batch()).datagram(5))] == [BATCH_BEGIN, BATCH_END]
    empty = AddElements("s", (KeyType.IPV4,), frozenset())
    assert encode(batch(empty)).messages == []


def flags_of(encoded) -> list[int]:
    made = [each for each in decode(encoded.datagram(0)) if each.kind == Kind.NEWTABLE]
    return [int.from_bytes(attribute_map(each.body, NFGEN_SIZE)[TABLE_FLAGS], "big") for each in made]


def test_the_table_is_named_with_its_flags_until_it_is_made_anew():
    anew = batch(AddTable(), DeleteTable(), AddTable())
    assert flags_of(encode(anew)) == [0, 0]
    assert flags_of(encode(anew, TableFlags(4, 0))) == [4, 0]
    assert flags_of(encode(anew, TableFlags(0, 6))) == [0, 6]
    claimed = encode(batch(FlushChain("c")), TableFlags(6, 6, claim=True))
    assert flags_of(claimed) == [6]
    assert [type(each) for each in claimed.operations] == [AddTable, FlushChain]


def test_a_refusal_names_what_was_refused():
    rule = Rule((), Goto("nowhere"))
    encoded = encode(batch(AddCounter(Counter("c_1")), AddRule("e_x", rule)))
    assert explain(encoded, 1, 0) == "add counter c_1"
    assert explain(encoded, 2, 0) == "add a rule to chain e_x"
    assert explain(encoded, 0, 0) == "change the table"
    assert explain(encoded, 9, 0) == "change the table"


def test_a_refusal_names_the_element_the_kernel_points_at():
    key = (KeyType.IPV4, KeyType.SERVICE)
    elements = frozenset((0x0A000000 + number, 80 + number) for number in range(5000))
    encoded = encode(batch(DeleteElements("s4", key, elements)))
    assert len(encoded.messages) > 1
    for number in (0, 7, 4999):
        wanted = (0x0A000000 + number, 80 + number)
        (wire,) = set_elements(key, [wanted])
        ((sequence, message),) = [
            (place, each) for place, each in enumerate(encoded.messages, 1) if wire in each
        ]
        words = f"delete elements of set s4, element 10.0.{number >> 8}.{number & 255} . {80 + number}"
        start = message.index(wire)
        assert explain(encoded, sequence, start) == words
        assert explain(encoded, sequence, start + len(wire) - 1) == words
        assert explain(encoded, sequence, start + len(wire)) != words
    assert explain(encoded, 1, 16) == "delete elements of set s4"


def test_intervals_of_concatenations_are_refused():
    each = NamedSet("x", (KeyType.IPV4, KeyType.SERVICE), frozenset(), interval=True)
    with pytest.raises(ValueError, match="not used"):
        encode(batch(AddSet(each)))
