"""Wire formats of the drop log: requests, messages, packet heads, records."""

from __future__ import annotations

import asyncio
import errno
import struct

import pytest

from stockade.dataplane import nflog
from stockade.dataplane.droplog import DropLog, DropLogError, record_of
from stockade.dataplane.nflog import Head, Logged, parse_head, parse_logged
from stockade.net.cidr import parse_address

A, B = parse_address("10.244.0.5")[1], parse_address("10.244.0.6")[1]
A6, B6 = parse_address("fd44::5")[1], parse_address("fd44::6")[1]


def ipv4(protocol: int, rest: bytes, offset: int = 0, options: bytes = b"") -> bytes:
    length = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBHII", 0x40 | length, 0, 0, 0, offset, 64, protocol, 0, A, B)
    return head + options + rest


def ipv6(following: int, rest: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(rest), following, 64) + A6.to_bytes(16) + B6.to_bytes(16) + rest


PORTS = struct.pack("!HH", 40000, 53)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (ipv4(17, PORTS), Head(4, A, B, 17, 40000, 53)),
        (ipv4(6, PORTS, options=bytes(8)), Head(4, A, B, 6, 40000, 53)),
        (ipv4(132, PORTS), Head(4, A, B, 132, 40000, 53)),
        (ipv4(1, b"\x08\0"), Head(4, A, B, 1, icmp_type=8)),
        (ipv4(17, PORTS, offset=185), Head(4, A, B, 17)),  # a later fragment has no ports
        (ipv4(17, b"\x9c"), Head(4, A, B, 17)),  # cut off
        (ipv6(6, PORTS), Head(6, A6, B6, 6, 40000, 53)),
        (ipv6(58, b"\x80\0"), Head(6, A6, B6, 58, icmp_type=128)),
        (ipv6(0, b"\x11\0" + bytes(6) + PORTS), Head(6, A6, B6, 17, 40000, 53)),
        (ipv6(60, b"\x06\x01" + bytes(14) + PORTS), Head(6, A6, B6, 6, 40000, 53)),
        (ipv6(44, b"\x11\0\0\x01" + bytes(4) + PORTS), Head(6, A6, B6, 17, 40000, 53)),
        (ipv6(44, b"\x11\0\x01\0" + bytes(4) + PORTS), Head(6, A6, B6, 17)),
        (ipv6(0, b"\x11"), Head(6, A6, B6, 0)),
        (b"", None),
        (ipv4(17, b"")[:19], None),
        (ipv6(17, b"")[:39], None),
        (b"\x20" + bytes(60), None),
    ],
)
def test_parse_head(payload: bytes, expected: Head | None) -> None:
    assert parse_head(payload) == expected


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def test_parse_logged_reads_what_is_there_in_any_order() -> None:
    body = bytes(4) + attribute(9, b"packet!") + attribute(77, b"?") + attribute(10, b"stockade|e|abc\0")
    assert parse_logged(body) == Logged("stockade|e|abc", b"packet!", None)
    timed = parse_logged(body + attribute(3, struct.pack("!QQ", 100, 500000)))
    assert timed.seconds == 100.5
    assert parse_logged(bytes(4) + struct.pack("=HH", 0, 9)) == Logged("", b"", None)


def test_messages_of_one_datagram_and_of_a_broken_one() -> None:
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)

    data = message(nflog.TYPE_PACKET, b"abcde") + message(2, struct.pack("=i", -16))
    assert list(nflog.messages(data)) == [(nflog.TYPE_PACKET, b"abcde"), (2, struct.pack("=i", -16))]
    assert list(nflog.messages(data[:-4])) == [(nflog.TYPE_PACKET, b"abcde")]
    assert list(nflog.messages(bytes(16))) == []
    assert nflog.error_code(2, struct.pack("=i", -16)) == 16
    assert nflog.error_code(nflog.TYPE_PACKET, b"abcd") is None


def test_bind_request_names_the_group_in_network_order() -> None:
    request = nflog.bind_request(5, snaplen=96, queue=50, timeout_cs=1, buffer=4096, sequence=9)
    ((kind, body),) = nflog.messages(request)
    assert kind == nflog.TYPE_CONFIG
    assert body[:4] == b"\0\0\0\x05"
    assert attribute(1, b"\x01") in body
    assert attribute(2, struct.pack("!IBB", 96, 2, 0)) in body


@pytest.mark.parametrize(
    ("prefix", "direction", "turned"),
    [
        ("stockade|e|abc", "Egress", False),
        ("stockade|i|abc", "Ingress", False),
        ("stockade|re|abc", "Egress", True),
        ("stockade|ri|abc", "Ingress", True),
    ],
)
def test_record_is_about_the_first_packet(prefix: str, direction: str, turned: bool) -> None:
    record = record_of(Logged(prefix, ipv4(17, PORTS), 100.5), now=1.0)
    assert record is not None
    assert (record.direction, record.profile, record.is_reply) == (direction, "abc", turned)
    ends = (record.source, record.sport, record.destination, record.dport)
    assert ends == ((B, 53, A, 40000) if turned else (A, 40000, B, 53))
    assert (record.protocol, record.time) == ("UDP", 100.5)


def test_record_of_the_fence_without_a_time() -> None:
    record = record_of(Logged("stockade|fence|", ipv6(58, b"\x80\0"), None), now=7.0)
    assert record is not None
    assert (record.chain, record.direction, record.profile) == ("fence", "", "")
    assert (record.protocol, record.icmp_type, record.time) == ("ICMP", 128, 7.0)
    assert str(record) == "fd44::5 -> fd44::6 ICMP fence"


@pytest.mark.parametrize("prefix", ["", "calico|e|abc", "stockade|x|abc", "stockade"])
def test_what_others_log_is_not_ours(prefix: str) -> None:
    assert record_of(Logged(prefix, ipv4(17, PORTS), None), now=1.0) is None


class ScriptedSocket:
    """Datagrams or errors, one for each recv."""

    def __init__(self, *script: bytes | OSError) -> None:
        self.script = list(script)

    def recv(self, size: int, flags: int) -> bytes:
        step = self.script.pop(0) if self.script else BlockingIOError()
        if isinstance(step, OSError):
            raise step
        return step

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


class Loop:
    def remove_reader(self, descriptor: int) -> None:
        pass


def opened(*script: bytes | OSError, limit: int = 10) -> DropLog:
    log = DropLog(5, limit=limit)
    log._socket, log._loop = ScriptedSocket(*script), Loop()
    return log


def datagram() -> bytes:
    body = bytes(4) + attribute(9, ipv4(17, PORTS)) + attribute(10, b"stockade|e|abc\0")
    return struct.pack("=IHHII", 16 + len(body), nflog.TYPE_PACKET, 0, 0, 0) + body


async def test_overrun_is_counted_and_reading_goes_on() -> None:
    log = opened(OSError(errno.ENOBUFS, "no buffer"), datagram())
    log._on_readable()
    assert log.lost == 1
    assert (await anext(log)).profile == "abc"


async def test_records_nobody_takes_push_out_the_oldest() -> None:
    log = opened(datagram(), datagram(), datagram(), limit=2)
    log._on_readable()
    assert log.lost == 1


async def test_a_broken_socket_ends_the_log_with_a_reason_after_what_was_read() -> None:
    log = opened(datagram(), OSError(errno.ENETDOWN, "Network is down"))
    log._on_readable()
    assert (await anext(log)).profile == "abc"
    with pytest.raises(DropLogError, match="Network is down"):
        await anext(log)


async def test_closing_ends_the_iteration() -> None:
    log = opened()
    waiting = asyncio.create_task(anext(log, None))
    await asyncio.sleep(0)
    log.close()
    assert await waiting is None


def test_what_is_no_packet_is_no_record() -> None:
    assert record_of(Logged("stockade|e|abc", b"junk", None), now=1.0) is None
