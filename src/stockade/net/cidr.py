"""Addresses and CIDR blocks as integers. ``ipaddress`` reads and writes; everything between is integer ranges.

Reading follows the API server's lenient reading: leading zeros are decimal (``010.0.0.1`` is 10.0.0.1, also in a prefix length),
and a block's host bits are masked off. Manifests with either earn a warning in ``manifests.validate``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

BITS = {4: 32, 6: 128}
Address = tuple[int, int]  # (family, integer)
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_LEADING_ZEROS = re.compile(r"(?<![0-9a-fA-F:.])0+(?=[0-9])|(?<=\.)0+(?=[0-9])")


class Block(msgspec.Struct, frozen=True, order=True):
    """A CIDR block; host bits are masked off."""

    family: int
    low: int
    high: int

    def contains(self, other: Block) -> bool:
        return self.family == other.family and self.low <= other.low and other.high <= self.high

    def __str__(self) -> str:
        size = (self.high - self.low + 1).bit_length() - 1
        return f"{format_address(self.family, self.low)}/{BITS[self.family] - size}"


@lru_cache(maxsize=65536)
def parse_address(text: str) -> Address:
    """Raises ValueError when ``text`` is not an IPv4 or IPv6 address."""
    parsed = ipaddress.ip_address(_decimal(text))
    _refuse_zone(text)
    return parsed.version, int(parsed)


@lru_cache(maxsize=16384)
def parse_block(text: str) -> Block:
    """Raises ValueError when ``text`` is not ``address/prefix``; host bits are allowed and masked off."""
    network = sloppy_interface(text).network
    return Block(network.version, int(network.network_address), int(network.broadcast_address))


@lru_cache(maxsize=16384)
def sloppy_interface(text: str) -> Interface:
    """``address/prefix`` with the host bits kept. Raises ValueError; a netmask instead of a length is refused."""
    address, slash, prefix = text.partition("/")
    if not slash:
        message = f"{text!r} has no prefix length"
        raise ValueError(message)
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 9):
        message = f"{text!r}: the prefix length is not a number"
        raise ValueError(message)
    _refuse_zone(address)
    return ipaddress.ip_interface(f"{_decimal(address)}/{int(prefix)}")


def format_address(family: int, value: int) -> str:
    return str(ipaddress.IPv4Address(value) if family == 4 else ipaddress.IPv6Address(value))


def blocks(family: int, low: int, high: int) -> Iterator[Block]:
    """The fewest CIDR blocks that cover ``low..high`` exactly, in ascending order."""
    while low <= high:
        aligned = (low & -low).bit_length() - 1 if low else BITS[family]
        size = min(aligned, (high - low + 1).bit_length() - 1)
        yield Block(family, low, low + (1 << size) - 1)
        low += 1 << size


def _decimal(text: str) -> str:
    """Leading zeros of dotted parts dropped; parts of IPv6 groups are left alone (they may have them)."""
    head, colon, tail = text.rpartition(":")
    if colon and "." not in tail:
        return text
    return head + colon + _LEADING_ZEROS.sub("", tail)


def _refuse_zone(text: str) -> None:
    if "%" in text:
        message = f"{text!r} has a zone"
        raise ValueError(message)
