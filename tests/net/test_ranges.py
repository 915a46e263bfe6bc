"""RangeSet is set algebra: compared with Python's sets, and with ipaddress for address blocks."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from stockade.net.ranges import RangeSet

PAIRS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=8
)
NETWORKS = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(20, 32)).map(
        lambda p: ipaddress.ip_network((p[0] & 0xFFFF_0FFF, p[1]), strict=False)
    ),
    max_size=6,
)


def members(pairs) -> set[int]:
    return {value for low, high in pairs for value in range(low, high + 1)}


@given(PAIRS, PAIRS)
def test_the_operations_are_those_of_sets(left, right) -> None:
    a, b = RangeSet(left), RangeSet(right)
    assert members(a | b) == members(left) | members(right)
    assert members(a & b) == members(left) & members(right)
    assert members(a - b) == members(left) - members(right)


@given(PAIRS)
def test_the_form_is_normal(pairs) -> None:
    kept = list(RangeSet(pairs))
    assert kept == sorted(kept)
    assert all(low <= high for low, high in kept)
    assert all(kept[i][1] + 1 < kept[i + 1][0] for i in range(len(kept) - 1))
    assert RangeSet(kept) == RangeSet(reversed(pairs))
    assert hash(RangeSet(kept)) == hash(RangeSet(pairs))


@given(PAIRS, st.integers(-2, 75))
def test_membership(pairs, value) -> None:
    assert (value in RangeSet(pairs)) == (value in members(pairs))
    assert bool(RangeSet(pairs)) == bool(pairs)


@given(NETWORKS, NETWORKS)
def test_blocks_minus_blocks_is_what_ipaddress_excludes(wanted, excepted) -> None:
    def ranges(networks) -> RangeSet:
        return RangeSet((int(n.network_address), int(n.broadcast_address)) for n in networks)

    left = list(ipaddress.collapse_addresses(wanted))
    for hole in ipaddress.collapse_addresses(excepted):
        left = [part for network in left for part in _without(network, hole)]
    assert ranges(wanted) - ranges(excepted) == ranges(left)


def _without(network, hole):
    if hole.supernet_of(network):
        return []
    return network.address_exclude(hole) if network.supernet_of(hole) else [network]
