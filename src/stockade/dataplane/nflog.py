"""Wire format of NFLOG: how a group is asked for, what its messages carry, and the head of a logged packet. Called by ``droplog``; pure.

Numbers are those of linux/netfilter/nfnetlink_log.h. Messages and attributes are those of ``netlink``; only ``packets`` walks them
itself: it runs for every logged packet, and slicing out the three attributes that are read is almost three times as fast as
making objects of all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from stockade.dataplane import netlink

_SUBSYSTEM_ULOG = 4
_MSG_PACKET, _MSG_CONFIG = 0, 1
_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ, _CFG_TIMEOUT, _CFG_QTHRESH, _CFG_FLAGS = 1, 2, 3, 4, 5, 6
_CMD_BIND = 1
_COPY_PACKET = 2
_FLAG_SEQUENCE = 1
_ATTR_PAYLOAD, _ATTR_PREFIX, _ATTR_SEQUENCE = 9, 10, 12

_START = struct.Struct("=IH").unpack_from  # length and type of a message
_ATTRIBUTE = struct.Struct("=HH").unpack_from
_SEQUENCE = struct.Struct("!I").unpack_from
_MESSAGE_SIZE, _NFGEN_SIZE, _ATTRIBUTE_SIZE = 16, 4, 4
TYPE_PACKET = _SUBSYSTEM_ULOG << 8 | _MSG_PACKET
TYPE_CONFIG = _SUBSYSTEM_ULOG << 8 | _MSG_CONFIG

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
WITH_PORTS = frozenset((TCP, UDP, SCTP))
_PLAIN_IPV4 = 0x45  # version 4, no options


class Head(msgspec.Struct, frozen=True):
    """What the first bytes of a packet say; ports and ICMP type are None when the packet has none or was cut off."""

    family: int
    source: int
    destination: int
    protocol: int
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None


def bind_request(group: int, *, snaplen: int, queue: int, timeout_cs: int, buffer: int) -> netlink.Request:
    """Bind ``group``: copy ``snaplen`` bytes of each packet and number the messages; the kernel sends what it gathered at ``queue``
    packets or after ``timeout_cs`` hundredths of a second, whichever comes first."""
    body = struct.pack("!BBH", 0, 0, group) + b"".join(
        (
            netlink.u8(_CFG_CMD, _CMD_BIND),
            netlink.attribute(_CFG_MODE, struct.pack("!IBB", snaplen, _COPY_PACKET, 0)),
            netlink.be32(_CFG_NLBUFSIZ, buffer),
            netlink.be32(_CFG_TIMEOUT, timeout_cs),
            netlink.be32(_CFG_QTHRESH, queue),
            netlink.be16(_CFG_FLAGS, _FLAG_SEQUENCE),
        )
    )
    return netlink.Request(TYPE_CONFIG, body, purpose=f"NFLOG group {group}")


def packets(data: bytes) -> Iterator[tuple[int | None, bytes, bytes]]:
    """(sequence number, prefix with its NUL, head of the packet) of each logged packet in one datagram. Messages of other kinds are
    passed over; what is cut short ends the datagram."""
    at, size = 0, len(data)
    while at + _MESSAGE_SIZE <= size:
        length, kind = _START(data, at)
        end = at + length
        if length < _MESSAGE_SIZE or end > size:
            return
        if kind == TYPE_PACKET:
            yield _packet(data, at + _MESSAGE_SIZE + _NFGEN_SIZE, end)
        at = end + (-length % 4)


def _packet(data: bytes, at: int, end: int) -> tuple[int | None, bytes, bytes]:
    sequence, prefix, payload = None, b"", b""
    while at + _ATTRIBUTE_SIZE <= end:
        length, kind = _ATTRIBUTE(data, at)
        if length < _ATTRIBUTE_SIZE or at + length > end:
            break
        if kind == _ATTR_PAYLOAD:
            payload = data[at + _ATTRIBUTE_SIZE : at + length]
        elif kind == _ATTR_PREFIX:
            prefix = data[at + _ATTRIBUTE_SIZE : at + length]
        elif kind == _ATTR_SEQUENCE and length >= _ATTRIBUTE_SIZE + 4:
            (sequence,) = _SEQUENCE(data, at + _ATTRIBUTE_SIZE)
        at += (length + 3) & ~3
    return sequence, prefix, payload


def keys(payload: bytes, *, reply: bool) -> tuple[bytes, bytes]:
    """Who talks (protocol and addresses) and to which port, as the bytes on the wire: equal for the packets of one kind, without
    making anything of them. ``reply``: the port asked for is the source port. Both are empty when this is no IP packet."""
    first = payload[0] if payload else 0
    if first == _PLAIN_IPV4 and len(payload) >= 24 and not (payload[6] & 0x1F or payload[7]):
        who, ports = payload[9:10] + payload[12:20], payload[20:24]
    elif first >> 4 == 6 and len(payload) >= 44 and payload[6] in WITH_PORTS:
        who, ports = payload[6:7] + payload[8:40], payload[40:44]
    else:
        return _rare_keys(parse_head(payload), reply=reply)
    if who[0] not in WITH_PORTS:
        return who, b""
    return who, ports[:2] if reply else ports[2:]


def _rare_keys(head: Head | None, *, reply: bool) -> tuple[bytes, bytes]:
    """Options, extension headers, fragments, ICMP, packets that are cut off."""
    if head is None:
        return b"", b""
    width = 4 if head.family == 4 else 16
    addresses = head.source.to_bytes(width, "big") + head.destination.to_bytes(width, "big")
    port = head.sport if reply else head.dport
    return bytes((head.protocol,)) + addresses, b"" if port is None else port.to_bytes(2, "big")


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
    if head.protocol in WITH_PORTS and len(rest) >= 4:
        sport, dport = struct.unpack_from("!HH", rest)
        return msgspec.structs.replace(head, sport=sport, dport=dport)
    if head.protocol in {ICMP, ICMPV6} and rest:
        return msgspec.structs.replace(head, icmp_type=rest[0])
    return head
