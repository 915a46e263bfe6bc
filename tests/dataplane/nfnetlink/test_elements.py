"""Elements to bytes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.dataplane.ir import KeyType
from stockade.dataplane.netlink import attributes
from stockade.dataplane.nfnetlink import elements as el
from stockade.dataplane.nfnetlink.wire import KEY_TYPES

KEYS = [
    (KeyType.IPV4,),
    (KeyType.IPV6,),
    (KeyType.ICMPV6_TYPE,),
    (KeyType.IDENTITY,),
    (KeyType.IPV4, KeyType.PROTOCOL, KeyType.SERVICE),
    (KeyType.IPV6, KeyType.IPV6),
]


def tuples(key: tuple[KeyType, ...]):
    return st.frozensets(st.tuples(*(st.integers(0, (1 << KEY_TYPES[kind][1] * 8) - 1) for kind in key)))


def body(found: list[bytes]) -> bytes:
    return b"".join(payload for chunk in el.chunks(found) for _, payload in attributes(chunk))


@given(st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), tuples(key))))
def test_tuples_come_back(case):
    key, wanted = case
    found = el.read_keys(body(el.set_elements(key, wanted)), el.key_size(key))
    assert frozenset(el.read_tuple(key, data) for data, _ in found) == wanted


_bounds = st.integers(0, (1 << 32) - 1) | st.sampled_from([0, 1, (1 << 32) - 1, (1 << 32) - 2])


@given(st.lists(_bounds, unique=True, max_size=8), st.booleans())
def test_disjoint_intervals_come_back(bounds, whole):
    ordered = sorted(bounds)
    wanted = frozenset(zip(ordered[::2], ordered[1::2], strict=False))
    found = el.read_keys(body(el.interval_elements(KeyType.IPV4, wanted, whole=whole)), 4)
    kept = [pair for pair in found if pair != (bytes(4), True)]
    assert el.read_intervals(KeyType.IPV4, kept) == wanted


def test_touching_intervals_stay_apart():
    wanted = frozenset({(1, 5), (6, 6), (7, 9)})
    found = el.read_keys(body(el.interval_elements(KeyType.IPV4, wanted, whole=False)), 4)
    assert el.read_intervals(KeyType.IPV4, found) == wanted


def test_a_new_set_of_intervals_begins_with_an_end():
    whole = el.interval_elements(KeyType.IPV4, {(5, 9)}, whole=True)
    assert len(whole) == 3
    assert len(el.interval_elements(KeyType.IPV4, {(5, 9)}, whole=False)) == 2
    assert len(el.interval_elements(KeyType.IPV4, {(0, 9)}, whole=True)) == 2
    assert el.interval_elements(KeyType.IPV4, (), whole=True) == []


@pytest.mark.parametrize("ends", [[(1, False), (2, False)], [(1, True)], [(1, False), (2, True), (3, True)]])
def test_overlapping_intervals_are_no_intervals_of_ours(ends):
    with pytest.raises(ValueError, match="overlap"):
        el.read_intervals(KeyType.IPV4, [(value.to_bytes(4, "big"), end) for value, end in ends])


def test_maps_come_back():
    for key, wanted in ((KeyType.IPV6, {1: 7, 2: 0x10002}), (KeyType.IDENTITY, {7: "e_x", 8: "ingress"})):
        pairs = el.read_pairs(body(el.map_elements(key, wanted)))
        assert {el.read_tuple((key,), data)[0]: value for data, value in pairs} == wanted


def test_no_attribute_is_longer_than_netlink_allows():
    found = el.set_elements((KeyType.IPV4,), ((n,) for n in range(10_000)))
    chunks = list(el.chunks(found))
    assert len(chunks) > 2
    assert max(map(len, chunks)) < 1 << 16
    assert body(found) == b"".join(found)
    assert list(el.chunks([])) == []
