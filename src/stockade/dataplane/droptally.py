"""Counts of denied packets: what was logged, in; one DropRecord for each kind of packet with how often it came, out. Called by ``droplog``.

A packet is known by bytes cut out of its message: the log prefix (direction and profile), protocol, addresses and destination port.
One that was seen before costs two look-ups and an increment; only a new kind becomes a record. Pure.

Memory is bounded whatever is sent. Beyond PORTS_TOLD ports between two addresses the others share one record, which says how many
ports there were (a port scan); beyond ``conversations`` the one seen first is forgotten; beyond ``waiting`` untold records
packets of new kinds are only counted as lost.
"""

from __future__ import annotations

import msgspec

from stockade.dataplane.ir import PROTOCOLS
from stockade.dataplane.names import FENCE, LOG_MARK
from stockade.dataplane.nflog import keys, parse_head
from stockade.model.netpol import EGRESS, INGRESS
from stockade.net.cidr import format_address

PORTS_TOLD = 8
_NAMES = {number: name for name, number in PROTOCOLS.items()} | {PROTOCOLS["ICMPv6"]: "ICMP"}
_DIRECTIONS = {"e": EGRESS, "re": EGRESS, "i": INGRESS, "ri": INGRESS, FENCE: ""}
_REPLIES = frozenset(("re", "ri"))
_REPLY_START = tuple(f"{LOG_MARK}|{code}|".encode() for code in sorted(_REPLIES))
_PORTS = 65536


class DropRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` denied packets of one kind between ``first`` and ``time`` (the last), in seconds since the epoch; source port and
    ICMP type are those of the first of them.

    ``chain`` is e, i, re, ri or fence; ``direction`` Egress, Ingress, or empty for the fence. ``protocol`` is TCP, UDP, SCTP, ICMP or
    a number. ``ports`` above 1: so many destination ports besides those told one by one; ``dport`` is one of them.
    """

    chain: str
    direction: str
    profile: str
    family: int
    source: int
    destination: int
    protocol: str
    sport: int | None
    dport: int | None
    icmp_type: int | None
    first: float
    time: float
    count: int = 1
    ports: int = 1

    @property
    def is_reply(self) -> bool:
        """The denied packet went from ``destination`` to ``source``."""
        return self.chain in _REPLIES

    def __str__(self) -> str:
        source, destination = (_end(self.family, *end) for end in self._ends)
        return f"{source} -> {destination} {self.protocol} {self.direction or 'fence'}".strip()

    @property
    def _ends(self) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
        return (self.source, self.sport), (self.destination, self.dport)


def record_of(prefix: bytes, payload: bytes, now: float) -> DropRecord | None:
    """None for what others log to the same group, and for what is no IP packet."""
    mark, _, rest = prefix.rstrip(b"\0").decode(errors="replace").partition("|")
    code, _, profile = rest.partition("|")
    head = parse_head(payload)
    if mark != LOG_MARK or code not in _DIRECTIONS or head is None:
        return None
    if code in _REPLIES:
        head = msgspec.structs.replace(
            head, source=head.destination, destination=head.source, sport=head.dport, dport=head.sport
        )
    return DropRecord(
        chain=code,
        direction=_DIRECTIONS[code],
        profile=profile,
        family=head.family,
        source=head.source,
        destination=head.destination,
        protocol=_NAMES.get(head.protocol, str(head.protocol)),
        sport=head.sport,
        dport=head.dport,
        icmp_type=head.icmp_type,
        first=now,
        time=now,
    )


class _Count:
    """Packets of one kind since they were last told. ``ports`` is a set of port numbers, as bits, where many share this count."""

    __slots__ = ("count", "first", "last", "ports", "record")

    def __init__(self, record: DropRecord) -> None:
        self.record = record
        self.count = 0
        self.first = self.last = 0.0
        self.ports: bytearray | None = None

    def take(self) -> DropRecord:
        ports = 1 if self.ports is None else int.from_bytes(self.ports, "little").bit_count()
        told = msgspec.structs.replace(
            self.record, count=self.count, ports=ports, first=self.first, time=self.last
        )
        self.count = 0
        return told


class _Conversation:
    """Between two addresses, under one prefix and protocol. ``scanned`` counts the ports that have no count of their own."""

    __slots__ = ("by_port", "scanned")

    def __init__(self) -> None:
        self.by_port: dict[bytes, _Count] = {}
        self.scanned: _Count | None = None


class Tally:
    """``add`` for each packet, ``take`` for what came since the last time. ``overflow`` counts packets that had no room."""

    def __init__(self, *, conversations: int = 1024, waiting: int = 4096) -> None:
        self.overflow = 0
        self._conversations, self._waiting = conversations, waiting
        self._known: dict[bytes, _Conversation] = {}
        self._untold: list[_Count] = []

    def __bool__(self) -> bool:
        return bool(self._untold)

    def add(self, prefix: bytes, payload: bytes, now: float) -> None:
        who, port = keys(payload, reply=prefix.startswith(_REPLY_START))
        conversation = self._known.get(prefix + who)
        count = None if conversation is None else conversation.by_port.get(port)
        if count is None:
            count = self._new(prefix, who, port, payload, now)
            if count is None:
                return
        if not count.count:
            if len(self._untold) >= self._waiting:
                self.overflow += 1
                return
            count.first = now
            self._untold.append(count)
        count.count += 1
        count.last = now

    def take(self) -> list[DropRecord]:
        untold, self._untold = self._untold, []
        return [count.take() for count in untold]

    def _new(self, prefix: bytes, who: bytes, port: bytes, payload: bytes, now: float) -> _Count | None:
        """The count for a kind that has none of its own yet; None when it is nothing of ours."""
        conversation = self._known.get(prefix + who)
        if conversation is not None and conversation.scanned is not None:
            _mark(conversation.scanned, port)
            return conversation.scanned
        record = record_of(prefix, payload, now)
        if record is None:
            return None
        if conversation is None:
            conversation = self._known[prefix + who] = _Conversation()
            self._forget()
        count = _Count(record)
        if len(conversation.by_port) < PORTS_TOLD:
            conversation.by_port[port] = count
        else:
            conversation.scanned = count
            count.ports = bytearray(_PORTS // 8)
            _mark(count, port)
        return count

    def _forget(self) -> None:
        if len(self._known) > self._conversations:
            del self._known[next(iter(self._known))]


def _mark(count: _Count, port: bytes) -> None:
    assert count.ports is not None
    number = int.from_bytes(port, "big")
    count.ports[number >> 3] |= 1 << (number & 7)


def _end(family: int, address: int, port: int | None) -> str:
    text = format_address(family, address)
    if port is None:
        return text
    return f"[{text}]:{port}" if family == 6 else f"{text}:{port}"
