"""Addresses and blocks, against the standard library's reading."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.net.cidr import BITS, Block, blocks, format_address, parse_address, parse_block

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES)
def test_addresses_round_trip(address) -> None:
    family, value = parse_address(str(address))
    assert (family, value) == (address.version, int(address))
    assert format_address(family, value) == str(address)


@given(ADDRESSES, st.data())
def test_a_block_is_what_ipaddress_says_with_host_bits_masked(address, data) -> None:
    prefix = data.draw(st.integers(0, BITS[address.version]))
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    block = parse_block(f"{address}/{prefix}")
    assert (block.low, block.high) == (int(network.network_address), int(network.broadcast_address))
    assert str(block) == str(network)


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "", "/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/٨",
                                  "10.0.0.0/255.0.0.0", "fe80::%eth0/64", " 10.0.0.0/8", "10.0.0.0/8/8", "::1/129"])  # fmt: skip
def test_what_is_not_a_block_is_refused(text) -> None:
    with pytest.raises(ValueError):
        parse_block(text)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "fe80::1%eth0", "::g", "10.0.0.0/8"])
def test_what_is_not_an_address_is_refused(text) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_leading_zeros_are_decimal_as_the_server_reads_them() -> None:
    assert parse_address("010.000.00.09") == parse_address("10.0.0.9")
    assert parse_address("100.200.0.10") == (4, int(ipaddress.IPv4Address("100.200.0.10")))
    assert parse_block("010.0.0.0/08") == parse_block("10.0.0.0/8")
    assert parse_address("::ffff:010.0.0.1") == parse_address("::ffff:10.0.0.1")
    assert parse_address("2001:0db8::0001") == parse_address("2001:db8::1")


def test_containment_needs_the_same_family() -> None:
    everything = parse_block("0.0.0.0/0")
    assert everything.contains(parse_block("10.0.0.0/8"))
    assert not parse_block("10.0.0.0/8").contains(everything)
    assert not parse_block("::/0").contains(parse_block("10.0.0.0/8"))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_range_becomes_the_blocks_that_ipaddress_finds(one, other) -> None:
    low, high = min(one, other), max(one, other)
    expected = ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(high))
    assert [str(block) for block in blocks(4, low, high)] == [str(network) for network in expected]


def test_all_addresses_are_one_block() -> None:
    assert list(blocks(6, 0, 2**128 - 1)) == [Block(6, 0, 2**128 - 1)]
