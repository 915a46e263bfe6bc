"""Expressions: the instructions of the kernel's packet machine, each as the bytes of one list element. Called by ``rules``; pure.

Attributes stand in the order in which the kernel lists them and none is left to its default, so that a rule read back is
byte for byte the rule that was sent. Registers are the sixteen of four bytes; number 0 of the kernel is the verdict.
"""

from __future__ import annotations

import struct

from stockade.dataplane.netlink import attribute, be16, be32, be64, string, u8
from stockade.dataplane.nfnetlink.wire import (
    DATA_VALUE,
    DATA_VERDICT,
    LIST_ELEMENT,
    OBJECT_COUNTER,
    VERDICT_CHAIN,
    VERDICT_CODE,
    VERDICT_GOTO,
    container,
)

EQUAL, DIFFERENT, AT_MOST, AT_LEAST = 0, 1, 3, 5
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2

META_PRIORITY, META_IIFNAME, META_NFPROTO, META_L4PROTO = 2, 6, 15, 16
CT_STATE, CT_DIRECTION, CT_MARK = 0, 1, 3
FIB_OIF, FIB_TYPE = 1, 3
FIB_F_SADDR, FIB_F_DADDR, FIB_F_IIF, FIB_F_PRESENT = 0x1, 0x2, 0x8, 0x20
REJECT_TCP_RESET, REJECT_ICMPX = 1, 2
ICMPX_ADMIN_PROHIBITED = 3

_VERDICT_REGISTER = 0
FIRST = 1  # the name of the first data register
HOST_WORD = struct.Struct("=I")  # marks, states and identities are numbers of the host


def expression(name: str, *attributes: bytes) -> bytes:
    return container(LIST_ELEMENT, string(1, name), container(2, *attributes))


def register(word: int) -> int:
    """The kernel's name of the ``word``-th register of four bytes: every fourth has a name of its own."""
    return FIRST + word // 4 if word % 4 == 0 else 8 + word


def payload(base: int, offset: int, length: int, into: int = FIRST) -> bytes:
    return expression("payload", be32(1, into), be32(2, base), be32(3, offset), be32(4, length))


def meta(key: int, into: int = FIRST) -> bytes:
    return expression("meta", be32(2, key), be32(1, into))


def set_meta(key: int) -> bytes:
    return expression("meta", be32(2, key), be32(3, FIRST))


def ct(key: int) -> bytes:
    return expression("ct", be32(1, FIRST), be32(2, key))


def set_ct(key: int) -> bytes:
    return expression("ct", be32(4, FIRST), be32(2, key))


def fib(flags: int, result: int) -> bytes:
    return expression("fib", be32(1, FIRST), be32(2, result), be32(3, flags))


def compare(operator: int, value: bytes) -> bytes:
    data = container(3, attribute(DATA_VALUE, value))
    return expression("cmp", be32(1, FIRST), be32(2, operator), data)


def bitwise(mask: bytes, xor: bytes) -> bytes:
    """register = (register & mask) ^ xor"""
    masks = container(4, attribute(DATA_VALUE, mask)), container(5, attribute(DATA_VALUE, xor))
    return expression("bitwise", be32(1, FIRST), be32(2, FIRST), be32(3, len(mask)), be32(6, 0), *masks)


def lookup(name: str, *, negated: bool = False) -> bytes:
    return expression("lookup", string(1, name), be32(2, FIRST), be32(5, int(negated)))


def lookup_value(name: str) -> bytes:
    """Put what the map holds into the first register; without an element the rule ends here."""
    return expression("lookup", string(1, name), be32(2, FIRST), be32(3, FIRST), be32(5, 0))


def lookup_verdict(name: str) -> bytes:
    return expression("lookup", string(1, name), be32(2, FIRST), be32(3, _VERDICT_REGISTER), be32(5, 0))


def immediate(value: bytes) -> bytes:
    return expression("immediate", be32(1, FIRST), container(2, attribute(DATA_VALUE, value)))


def verdict_data(code: int, chain: str = "") -> bytes:
    target = string(VERDICT_CHAIN, chain) if chain else b""
    return container(DATA_VERDICT, be32(VERDICT_CODE, code & 0xFFFFFFFF), target)


def verdict(code: int) -> bytes:
    return expression("immediate", be32(1, _VERDICT_REGISTER), container(2, verdict_data(code)))


def goto(chain: str) -> bytes:
    return expression(
        "immediate", be32(1, _VERDICT_REGISTER), container(2, verdict_data(VERDICT_GOTO, chain))
    )


def limit(rate: int, burst: int) -> bytes:
    """Packets per second."""
    return expression("limit", be64(1, rate), be64(2, 1), be32(3, burst), be32(4, 0), be32(5, 0))


def log(prefix: str, group: int, snaplen: int) -> bytes:
    return expression("log", string(2, prefix), be16(1, group), be32(3, snaplen))


def count(name: str) -> bytes:
    return expression("objref", string(2, name), be32(1, OBJECT_COUNTER))


def reject(kind: int, code: int | None = None) -> bytes:
    return expression("reject", be32(1, kind), b"" if code is None else u8(2, code))
