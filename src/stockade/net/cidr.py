"""Addresses and CIDR blocks as integers. ``ipaddress`` reads and writes; everything between is integer ranges."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import msgspec

BITS = {4: 32, 6: 128}
Address = tuple[int, int]  # (family, integer)


class Block(msgspec.Struct, frozen=True, order=True):
    """A CIDR block; host bits are masked off."""

    family: int
    low: int
    high: int

    def contains(self, other: Block) -> bool:
        return self.family == other.family and self.low <= other.low and other.high <= self.high


@lru_cache(maxsize=65536)
def parse_address(text: str) -> Address:
    """Raises ValueError when ``text`` is not an IPv4 or IPv6 address."""
    parsed = ipaddress.ip_address(text)
    return parsed.version, int(parsed)


@lru_cache(maxsize=16384)
def parse_block(text: str) -> Block:
    """Raises ValueError when ``text`` is not ``address/prefix``; host bits are allowed and masked off."""
    if "/" not in text:
        message = f"{text!r} has no prefix length"
        raise ValueError(message)
    parsed = ipaddress.ip_network(text, strict=False)
    return Block(parsed.version, int(parsed.network_address), int(parsed.broadcast_address))


def format_address(family: int, value: int) -> str:
    return str(ipaddress.IPv4Address(value) if family == 4 else ipaddress.IPv6Address(value))
