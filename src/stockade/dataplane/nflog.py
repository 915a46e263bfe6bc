"""Wire format of NFLOG: netlink messages in and out, and the head of a logged packet. Called by ``droplog``; pure.

Numbers are those of linux/netfilter/nfnetlink_log.h. Only what the drop log needs: bind a group, and read prefix,
time and payload of its messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

NETLINK_NETFILTER = 12
_SUBSYSTEM_ULOG = 4
_MSG_PACKET, _MSG_CONFIG = 0, 1
_REQUEST, _ACK = 1, 4
_ERROR = 2  # NLMSG_ERROR
_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ, _CFG_TIMEOUT, _CFG_QTHRESH = 1, 2, 3, 4, 5
_CMD_BIND = 1
_COPY_PACKET = 2
_ATTR_TIMESTAMP, _ATTR_PAYLOAD, _ATTR_PREFIX = 3, 9, 10

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NFGEN_SIZE = 4
TYPE_PACKET = _SUBSYSTEM_ULOG << 8 | _MSG_PACKET
TYPE_CONFIG = _SUBSYSTEM_ULOG << 8 | _MSG_CONFIG


class Logged(msgspec.Struct, frozen=True):
    """One message of a group. ``seconds`` is None when the kernel gave no time (packets made on this host)."""

    prefix: str
    payload: bytes
    seconds: float | None


class Head(msgspec.Struct, frozen=True):
    """What the first bytes of a packet say; ports and ICMP type are None when the packet has none or was cut off."""

    family: int
    source: int
    destination: int
    protocol: int
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None


def bind_request(
    group: int, *, snaplen: int, queue: int, timeout_cs: int, buffer: int, sequence: int
) -> bytes:
    """Bind ``group``: copy ``snaplen`` bytes of each packet; the kernel sends what it gathered at ``queue`` packets or after
    ``timeout_cs`` hundredths of a second, whichever comes first."""
    attributes = b"".join(
        (
            _pack(_CFG_CMD, struct.pack("=B", _CMD_BIND)),
            _pack(_CFG_MODE, struct.pack("!IBB", snaplen, _COPY_PACKET, 0)),
            _pack(_CFG_NLBUFSIZ, struct.pack("!I", buffer)),
            _pack(_CFG_TIMEOUT, struct.pack("!I", timeout_cs)),
            _pack(_CFG_QTHRESH, struct.pack("!I", queue)),
        )
    )
    body = struct.pack("!BBH", 0, 0, group) + attributes
    return _HEADER.pack(_HEADER.size + len(body), TYPE_CONFIG, _REQUEST | _ACK, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each netlink message in one datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def error_code(kind: int, body: bytes) -> int | None:
    """errno of an acknowledgement, 0 when all is well; None when the message is none."""
    return -int(struct.unpack_from("=i", body)[0]) if kind == _ERROR and len(body) >= 4 else None


def parse_logged(body: bytes) -> Logged:
    prefix, payload, seconds = "", b"", None
    for kind, value in _attributes(body[_NFGEN_SIZE:]):
        if kind == _ATTR_PREFIX:
            prefix = value.rstrip(b"\0").decode(errors="replace")
        elif kind == _ATTR_PAYLOAD:
            payload = value
        elif kind == _ATTR_TIMESTAMP and len(value) >= 16:
            whole, micro = struct.unpack_from("!QQ", value)
            seconds = whole + micro / 1e6
    return Logged(prefix, payload, seconds)


def parse_head(payload: bytes) -> Head | None:
    """None when this is no IP packet or not even the addresses are there."""
    version = payload[0] >> 4 if payload else 0
    if version == 4 and len(payload) >= 20:
        source, destination = struct.unpack_from("!II", payload, 12)
        fragment = struct.unpack_from("!H", payload, 6)[0] & 0x1FFF
        rest = b"" if fragment else payload[(payload[0] & 15) * 4 :]
        return _transport(Head(4, source, destination, payload[9]), rest)
    if version == 6 and len(payload) >= 40:
        source, destination = (int.from_bytes(payload[a : a + 16], "big") for a in (8, 24))
        protocol, rest = _skip_extensions(payload[6], payload[40:])
        return _transport(Head(6, source, destination, protocol), rest)
    return None


_EXTENSIONS = frozenset((0, 43, 60))  # hop-by-hop, routing, destination options (RFC 8200)
_FRAGMENT = 44


def _skip_extensions(protocol: int, rest: bytes) -> tuple[int, bytes]:
    while protocol in _EXTENSIONS or protocol == _FRAGMENT:
        if len(rest) < 8:
            return protocol, b""
        following = rest[0]
        if protocol == _FRAGMENT:
            later = struct.unpack_from("!H", rest, 2)[0] >> 3
            rest = b"" if later else rest[8:]
        else:
            rest = rest[(rest[1] + 1) * 8 :]
        protocol = following
    return protocol, rest


def _transport(head: Head, rest: bytes) -> Head:
    if head.protocol in {6, 17, 132} and len(rest) >= 4:
        sport, dport = struct.unpack_from("!HH", rest)
        return msgspec.structs.replace(head, sport=sport, dport=dport)
    if head.protocol in {1, 58} and rest:
        return msgspec.structs.replace(head, icmp_type=rest[0])
    return head


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _pack(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (_aligned(length) - length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
