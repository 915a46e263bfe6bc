"""Numbers for pairs of profiles: what id4 and id6 hold for a pod, and what the verdict maps are asked with. Called by ``lower``; pure.

A number is a hash of the pair, so that it is the same after a restart and on every node, and no state must be kept. Two pairs
of one hash (one chance in a million with a hundred pairs) are told apart by their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

Pair = tuple[str, str]  # ids of the egress and the ingress profile; empty: not isolated in that direction

_NONE, _ROOT = 0, 0xFFFFFFFF  # what nft calls "none" and "root" are no numbers of ours


def pair_hash(pair: Pair) -> int:
    """32 bits, neither all zero nor all one."""
    number = int.from_bytes(sha256("|".join(pair).encode()).digest()[:4], "big")
    return number if number not in {_NONE, _ROOT} else 1


def identities(pairs: Iterable[Pair]) -> dict[Pair, int]:
    """Each distinct pair with its number; the same pairs always get the same numbers."""
    found: dict[Pair, int] = {}
    taken: set[int] = set()
    for number, pair in sorted((pair_hash(pair), pair) for pair in set(pairs)):
        free = number
        while free in taken or free in {_NONE, _ROOT}:
            free = (free + 1) & _ROOT
        taken.add(free)
        found[pair] = free
    return found
