"""Wire formats of the drop log: requests, messages, packet heads, records."""

from __future__ import annotations

import asyncio
import errno
import struct

import pytest

from stockade.dataplane import netlink, nflog
from stockade.dataplane.droplog import DropLog, DropLogError
from stockade.dataplane.droptally import PORTS_TOLD, Tally, record_of
from stockade.dataplane.nflog import Head, keys, packets, parse_head
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


def logged(payload: bytes, prefix: bytes = b"stockade|e|abc", number: int | None = None) -> bytes:
    """One message as the kernel writes it: attributes we do not read, prefix, number, packet."""
    body = bytes(4) + attribute(1, b"\x08\0\x02\0") + attribute(10, prefix + b"\0") + attribute(77, b"?")
    if number is not None:
        body += attribute(12, struct.pack("!I", number))
    body += attribute(9, payload)
    return struct.pack("=IHHII", 16 + len(body), nflog.TYPE_PACKET, 0, 0, 0) + body


def test_packets_of_one_datagram_and_of_a_broken_one() -> None:
    other = struct.pack("=IHHIIi", 20, 2, 0, 0, 0, -16)
    data = logged(b"abcde") + other + logged(b"xyz", b"p", 7)
    assert list(packets(data)) == [(None, b"stockade|e|abc\0", b"abcde"), (7, b"p\0", b"xyz")]
    assert list(packets(data[:-4])) == [(None, b"stockade|e|abc\0", b"abcde")]
    assert list(packets(bytes(16))) == []
    cut = struct.pack("=IHHII", 24, nflog.TYPE_PACKET, 0, 0, 0) + bytes(4) + struct.pack("=HH", 0, 9)
    assert list(packets(cut)) == [(None, b"", b"")]
    beyond = struct.pack("=IHHII", 24, nflog.TYPE_PACKET, 0, 0, 0) + bytes(4) + struct.pack("=HH", 40, 9)
    assert list(packets(beyond + bytes(40))) == [(None, b"", b"")]


def test_bind_request_names_the_group_in_network_order() -> None:
    request = nflog.bind_request(5, snaplen=96, queue=50, timeout_cs=1, buffer=4096)
    assert request.kind == nflog.TYPE_CONFIG
    assert request.body[:4] == b"\0\0\0\x05"
    found = dict(netlink.attributes(request.body, 4))
    assert found == {
        1: b"\x01",
        2: struct.pack("!IBB", 96, 2, 0),
        3: struct.pack("!I", 4096),
        4: struct.pack("!I", 1),
        5: struct.pack("!I", 50),
        6: b"\0\x01",
    }


PACKETS = {
    "v4": (ipv4(17, PORTS), ipv4(17, struct.pack("!HH", 50000, 53))),
    "v4 options": (ipv4(6, PORTS), ipv4(6, PORTS, options=bytes(8))),
    "v6": (ipv6(6, PORTS), ipv6(6, struct.pack("!HH", 1, 53))),
    "v6 extension": (ipv6(6, PORTS), ipv6(60, b"\x06\0" + bytes(6) + PORTS)),
    "icmp": (ipv4(1, b"\x08\0" + bytes(6)), ipv4(1, b"\0\0")),
    "icmpv6": (ipv6(58, b"\x80\0" + bytes(6)), ipv6(58, b"\x80\0")),
}


@pytest.mark.parametrize("pair", PACKETS.values(), ids=PACKETS)
def test_packets_of_one_kind_have_equal_keys_however_they_are_written(pair: tuple[bytes, bytes]) -> None:
    one, other = (keys(payload, reply=False) for payload in pair)
    assert one == other
    assert one[0]


def test_keys_differ_by_protocol_addresses_and_the_port_asked_for() -> None:
    swapped = struct.pack("!BBHHHBBHII", 0x45, 0, 0, 0, 0, 64, 17, 0, B, A) + struct.pack("!HH", 53, 40000)
    found = {
        keys(payload, reply=reply)
        for payload, reply in (
            (ipv4(17, PORTS), False),
            (ipv4(6, PORTS), False),
            (ipv4(17, struct.pack("!HH", 40000, 54)), False),
            (ipv4(17, PORTS, offset=185), False),
            (swapped, False),
            (swapped, True),
        )
    }
    assert len(found) == 6
    assert keys(swapped, reply=True)[1] == keys(ipv4(17, PORTS), reply=False)[1] == struct.pack("!H", 53)
    assert keys(b"junk", reply=False) == keys(b"", reply=False) == (b"", b"")


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
    record = record_of(prefix.encode() + b"\0", ipv4(17, PORTS), now=100.5)
    assert record is not None
    assert (record.direction, record.profile, record.is_reply) == (direction, "abc", turned)
    ends = (record.source, record.sport, record.destination, record.dport)
    assert ends == ((B, 53, A, 40000) if turned else (A, 40000, B, 53))
    assert (record.protocol, record.time) == ("UDP", 100.5)


def test_record_of_the_fence_without_a_time() -> None:
    record = record_of(b"stockade|fence|", ipv6(58, b"\x80\0"), now=7.0)
    assert record is not None
    assert (record.chain, record.direction, record.profile) == ("fence", "", "")
    assert (record.protocol, record.icmp_type, record.time) == ("ICMP", 128, 7.0)
    assert str(record) == "fd44::5 -> fd44::6 ICMP fence"


@pytest.mark.parametrize("prefix", ["", "calico|e|abc", "stockade|x|abc", "stockade"])
def test_what_others_log_is_not_ours(prefix: str) -> None:
    assert record_of(prefix.encode(), ipv4(17, PORTS), now=1.0) is None


TO = b"stockade|e|abc\0"


def towards(port: int, destination: int = B, protocol: int = 17) -> bytes:
    head = struct.pack("!BBHHHBBHII", 0x45, 0, 0, 0, 0, 64, protocol, 0, A, destination)
    return head + struct.pack("!HH", 40000, port)


def test_a_tally_counts_equal_packets_from_the_first_to_the_last() -> None:
    tally = Tally()
    assert not tally
    for now, port in ((1.0, 53), (2.0, 80), (3.0, 53)):
        tally.add(TO, towards(port), now)
    first, second = tally.take()
    assert (first.dport, first.count, first.first, first.time, first.ports) == (53, 2, 1.0, 3.0, 1)
    assert (second.dport, second.count) == (80, 1)
    assert not tally
    assert tally.take() == []
    tally.add(TO, towards(53), 9.0)
    (again,) = tally.take()
    assert (again.dport, again.count, again.first, again.time) == (53, 1, 9.0, 9.0)


def test_a_scan_of_all_ports_is_a_few_records_and_a_number() -> None:
    tally = Tally()
    for port in range(65536):
        tally.add(TO, towards(port), 1.0)
    *single, scan = tally.take()
    assert [record.dport for record in single] == list(range(PORTS_TOLD))
    assert (scan.ports, scan.count) == (65536 - PORTS_TOLD, 65536 - PORTS_TOLD)
    for port in (PORTS_TOLD + 5, 60000):
        tally.add(TO, towards(port), 2.0)
    (scan,) = tally.take()
    assert (scan.ports, scan.count) == (65536 - PORTS_TOLD, 2)
    tally.add(TO, towards(99, protocol=6), 1.0)
    assert tally.take()[0].ports == 1  # another protocol is another conversation


def test_a_tally_stays_small_whoever_is_tried() -> None:
    tally = Tally(conversations=10, waiting=50)
    for destination in range(1000):
        tally.add(TO, towards(53, destination), 1.0)
    assert len(tally.take()) == 50
    assert tally.overflow == 950
    assert len(tally._known) <= 10


def test_a_count_that_is_not_told_yet_survives_being_forgotten() -> None:
    tally = Tally(conversations=1)
    tally.add(TO, towards(53, 1), 1.0)
    tally.add(TO, towards(53, 2), 1.0)
    tally.add(TO, towards(53, 1), 1.0)
    assert sorted((record.destination, record.count) for record in tally.take()) == [(1, 1), (1, 1), (2, 1)]


def test_what_is_not_ours_takes_no_room() -> None:
    tally = Tally()
    tally.add(b"calico\0", towards(53), 1.0)
    tally.add(TO, b"junk", 1.0)
    assert not tally
    assert not tally._known


class ScriptedSocket:
    """Datagrams or errors, one for each read."""

    def __init__(self, *script: bytes | OSError) -> None:
        self.script = list(script)

    def receive_bytes(self) -> bytes:
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


def opened(*script: bytes | OSError) -> DropLog:
    log = DropLog(5, interval=0.0)
    log._socket, log._loop = ScriptedSocket(*script), Loop()
    return log


def datagram(port: int = 53, number: int | None = None) -> bytes:
    return logged(towards(port), number=number)


async def test_overrun_is_counted_and_reading_goes_on() -> None:
    log = opened(OSError(errno.ENOBUFS, "no buffer"), datagram())
    log._on_readable()
    assert log.overruns == 1
    assert (await anext(log)).profile == "abc"


async def test_missing_numbers_are_lost_packets() -> None:
    last = (1 << 32) - 1
    log = opened(datagram(1, last - 1) + datagram(2, last), datagram(3, 0), datagram(4, 41) + datagram(5, 42))
    log._on_readable()
    assert log.lost == 40


async def test_equal_packets_come_as_one_record_and_a_flood_is_gathered() -> None:
    log = opened(datagram(53) + datagram(53), datagram(80))
    log._interval = 0.05
    log._on_readable()
    assert [((r := await anext(log)).dport, r.count) for _ in range(2)] == [(53, 2), (80, 1)]
    log._socket.script = [datagram(53)]
    log._on_readable()
    waiting = asyncio.create_task(anext(log))
    await asyncio.sleep(0)
    log._socket.script = [datagram(53)]
    log._on_readable()
    assert (await waiting).count == 2


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
    assert record_of(b"stockade|e|abc", b"junk", now=1.0) is None
