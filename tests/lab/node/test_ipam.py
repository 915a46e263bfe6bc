from __future__ import annotations

import pytest

from stockade.lab.node.ipam import AddressesExhaustedError, AddressPool


def test_a_released_address_comes_last() -> None:
    pool = AddressPool("10.244.0.0/29")
    first = pool.allocate()
    assert first == "10.244.0.2"
    pool.release(first)
    assert [pool.allocate() for _ in range(5)] == [f"10.244.0.{n}" for n in (3, 4, 5, 6, 2)]


def test_exhausted() -> None:
    pool = AddressPool("10.244.0.0/29")
    for _ in range(5):
        pool.allocate()
    with pytest.raises(AddressesExhaustedError, match=r"10\.244\.0\.0/29"):
        pool.allocate()
    pool.release("10.244.0.4")
    assert pool.allocate() == "10.244.0.4"
