from __future__ import annotations

import pytest

from stockade.lab.node.ipam import AddressesExhaustedError, AddressPool, AddressPools


def test_a_released_address_comes_last() -> None:
    pool = AddressPool("10.244.0.0/29")
    first = pool.allocate()
    assert first == "10.244.0.2"
    pool.release(first)
    assert [pool.allocate() for _ in range(5)] == [f"10.244.0.{n}" for n in (3, 4, 5, 6, 2)]


def test_a_pod_has_an_address_of_each_family() -> None:
    pools = AddressPools(["10.244.1.0/24", "fd00:10:244:1::/64"])
    first = pools.allocate()
    assert first == ("10.244.1.2", "fd00:10:244:1::2")
    assert pools.allocate() == ("10.244.1.3", "fd00:10:244:1::3")
    pools.release(first)


def test_all_addresses_or_none() -> None:
    pools = AddressPools(["fd00::/64", "10.244.0.0/30"])
    for _ in range(4):
        pools.allocate()
    before = len(pools._pools[0]._used)
    with pytest.raises(AddressesExhaustedError):
        pools.allocate()
    assert len(pools._pools[0]._used) == before


def test_exhausted() -> None:
    pool = AddressPool("10.244.0.0/29")
    for _ in range(5):
        pool.allocate()
    with pytest.raises(AddressesExhaustedError, match=r"10\.244\.0\.0/29"):
        pool.allocate()
    pool.release("10.244.0.4")
    assert pool.allocate() == "10.244.0.4"
