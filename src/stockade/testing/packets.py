"""What no ordinary socket sends: ICMP echo and SCTP INIT as bytes, and datagrams from a chosen address of a host with several.

Out: messages for raw sockets that carry the number of a probe, and that number read back. The kernel need not speak SCTP: INIT and INIT ACK
(RFC 9260 sections 3.1, 3.3.2, 3.3.3) have the CRC32c checksum that connection tracking verifies, and their *initiate tag* is the
number. Called by ``stockade.testing.wires``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import msgspec

from stockade.net.cidr import Address

Ancillary = Sequence[tuple[int, int, bytes]]

_IP_PKTINFO = 8
_ICMP6_FILTER = 1
_ECHO = struct.Struct("!BBHHHI")
_REQUESTS, _ANSWERS = {4: 8, 6: 128}, {4: 0, 6: 129}

_INIT, _INIT_ACK = 1, 2
_COMMON = struct.Struct("!HHII")
_CHUNK = struct.Struct("!BBHIIHHI")
_POLYNOMIAL = 0x82F63B78  # CRC32c, reflected


def local_address(address: Address) -> tuple[int, int, bytes]:
    """Ancillary data for sendmsg: send from this address."""
    family, value = address
    if family == 4:
        return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i", 0) + value.to_bytes(4, "big") + bytes(4)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, value.to_bytes(16, "big") + struct.pack("=i", 0)


def want_local_address(made: socket.socket, family: int) -> None:
    """recvmsg tells to which address a packet came."""
    if family == 4:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def reply_from(ancillary: Ancillary) -> Ancillary:
    """What recvmsg told about a question, for the sendmsg of its answer: from that address, by any interface."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return ((level, kind, data[:16] + bytes(4)),)
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return ((level, kind, bytes(4) + data[8:12] + bytes(4)),)
    return ()


def payload(family: int, data: bytes) -> bytes:
    """IPv4 raw sockets hand out the IP header too."""
    return data[(data[0] & 0xF) * 4 :] if family == 4 else data


def only_echoes(made: socket.socket) -> None:
    """Neighbour discovery is not for this ICMPv6 socket. A set bit blocks a type."""
    words = [0xFFFFFFFF] * 8
    for kind in (_REQUESTS[6], _ANSWERS[6]):
        words[kind >> 5] &= ~(1 << (kind & 31))
    made.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))


def echo_request(family: int, number: int) -> bytes:
    """The checksum of ICMPv6 is the kernel's business."""
    parts = (_REQUESTS[family], 0, 0, number & 0xFFFF, number >> 16, number)
    bare = _ECHO.pack(*parts)
    if family == 6:
        return bare
    total = sum(struct.unpack(f"!{len(bare) // 2}H", bare))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return bare[:2] + struct.pack("!H", ~total & 0xFFFF) + bare[4:]


def read_echo(family: int, data: bytes) -> tuple[int, bool] | None:
    """(number, is it the answer), None for anything else."""
    message = payload(family, data)
    if len(message) != _ECHO.size or message[0] not in {_REQUESTS[family], _ANSWERS[family]}:
        return None
    kind, _, _, _, _, number = _ECHO.unpack(message)
    return number, kind == _ANSWERS[family]


class Init(msgspec.Struct, frozen=True):
    """An INIT, or with ``answer`` the INIT ACK to one. ``tag`` is the initiate tag."""

    sport: int
    dport: int
    tag: int
    answer: bool = False


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def pack_init(init: Init) -> bytes:
    """An INIT ACK verifies itself with the tag of its INIT; here both have the same."""
    verification = init.tag if init.answer else 0
    kind = _INIT_ACK if init.answer else _INIT
    chunk = _CHUNK.pack(kind, 0, _CHUNK.size, init.tag, 65536, 1, 1, 1)
    bare = _COMMON.pack(init.sport, init.dport, verification, 0) + chunk
    checksum = struct.pack("<I", crc32c(bare))  # RFC 9260 appendix A: least significant byte first
    return bare[:8] + checksum + bare[12:]


def unpack_init(data: bytes) -> Init | None:
    """None for any other chunk."""
    if len(data) < _COMMON.size + _CHUNK.size:
        return None
    sport, dport, _, _ = _COMMON.unpack_from(data)
    kind, _, _, tag, *_ = _CHUNK.unpack_from(data, _COMMON.size)
    return Init(sport, dport, tag, kind == _INIT_ACK) if kind in {_INIT, _INIT_ACK} else None
