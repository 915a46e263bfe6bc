"""Whose address is it? Addresses and the pods that claim them, one pod at a time; ``policy.entries.owners`` says the same for all at once.

A finished pod and one on the host's network claim nothing (rules 37, 48); of several live claimants the one that runs has it. Called by
``live.rules``, which moves pods and asks who else is concerned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.net.cidr import Address
from stockade.policy.entries import claim, parse_all


class Claims:
    """Changes with ``move``. ``families`` are those of all addresses that have an owner."""

    def __init__(self, pods: Mapping[ObjectRef, Pod]) -> None:
        self._claimants: dict[Address, tuple[ObjectRef, ...]] = {}
        self._families: Counter[int] = Counter()
        for ref, pod in pods.items():
            self._add(ref, claimed(pod))

    @property
    def families(self) -> tuple[int, ...]:
        return tuple(sorted(family for family, count in self._families.items() if count))

    def rivals(self, ref: ObjectRef, pod: Pod | None) -> set[ObjectRef]:
        """Other pods that claim an address of ``pod`` now."""
        if pod is None:
            return set()
        return {
            rival for address in claimed(pod) for rival in self._claimants.get(address, ()) if rival != ref
        }

    def owned(self, ref: ObjectRef, pod: Pod, lookup: Callable[[ObjectRef], Pod]) -> tuple[Address, ...]:
        """The addresses that ``pod`` claims and has. ``lookup``: any pod that was moved in."""
        return tuple(a for a in claimed(pod) if self._owner(self._claimants[a], lookup) == ref)

    def move(self, ref: ObjectRef, before: Pod | None, after: Pod | None) -> None:
        old = claimed(before) if before is not None else ()
        new = claimed(after) if after is not None else ()
        if old != new:
            self._remove(ref, old)
            self._add(ref, new)

    @staticmethod
    def _owner(claimants: tuple[ObjectRef, ...], lookup: Callable[[ObjectRef], Pod]) -> ObjectRef:
        """The best claim, and among equal ones the first by name."""
        if len(claimants) == 1:
            return claimants[0]
        best = max(claim(lookup(ref)) for ref in claimants)
        return min(ref for ref in claimants if claim(lookup(ref)) == best)

    def _add(self, ref: ObjectRef, addresses: tuple[Address, ...]) -> None:
        for address in addresses:
            others = self._claimants.get(address, ())
            self._claimants[address] = (*others, ref)
            self._families[address[0]] += not others

    def _remove(self, ref: ObjectRef, addresses: tuple[Address, ...]) -> None:
        for address in addresses:
            left = tuple(other for other in self._claimants[address] if other != ref)
            if left:
                self._claimants[address] = left
            else:
                del self._claimants[address]
                self._families[address[0]] -= 1


def claimed(pod: Pod) -> tuple[Address, ...]:
    return () if pod.is_finished or pod.on_host_network else parse_all(pod.ips)
