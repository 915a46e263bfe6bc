"""Addresses for the node's pods, out of its pod CIDRs.

In: the node's spec.podCIDRs. Out: addresses as text. Called by the kubelet part only. An address is handed out again as late as
possible (next free one after the last, round the range), so that rules, connections and caches of a dead pod do not meet a new one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class AddressesExhaustedError(Exception):
    """Every address of the node's range is in use."""


class AddressPool:
    def __init__(self, pod_cidr: str) -> None:
        self._network = ipaddress.ip_network(pod_cidr)
        self._size = self._network.num_addresses
        # Not the network address, nor .1 (the customary gateway), nor the broadcast address.
        self._first, self._last = (2, self._size - 2) if self._size > 4 else (0, self._size - 1)
        self._next = self._first
        self._used: set[str] = set()

    def allocate(self) -> str:
        for _ in range(self._first, self._last + 1):
            address = str(self._network[self._next])
            self._next = self._next + 1 if self._next < self._last else self._first
            if address not in self._used:
                self._used.add(address)
                return address
        raise AddressesExhaustedError(
            f"failed to allocate for range 0: no IP addresses available in range set: {self._network}"
        )

    def release(self, address: str) -> None:
        self._used.discard(address)


class AddressPools:
    """One pool for each family; a pod has an address of each."""

    def __init__(self, pod_cidrs: Iterable[str]) -> None:
        self._pools = [AddressPool(cidr) for cidr in pod_cidrs]

    def allocate(self) -> tuple[str, ...]:
        """In the order of the CIDRs; all or none."""
        allocated: list[str] = []
        try:
            allocated.extend(pool.allocate() for pool in self._pools)
        except AddressesExhaustedError:
            self.release(allocated)
            raise
        return tuple(allocated)

    def release(self, addresses: Iterable[str]) -> None:
        for pool, address in zip(self._pools, addresses, strict=False):
            pool.release(address)
