"""Denied packets as they happen: an asynchronous reader of the NFLOG group that the deny chains log to. Called by the agent.

    async for record in DropLog(group): ...

The log prefix names direction and profile (``chains.log_prefix``); which policies isolate is in the profile. Records of mirrored chains
(replies) are turned round, so that source and destination are always those of the connection's first packet. The socket belongs to
the network namespace of the thread that opens it. Logging is rate limited in the kernel and may be lost: never a proof of absence.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections import deque
from types import TracebackType
from typing import Self

import msgspec

from stockade.dataplane.ir import PROTOCOLS
from stockade.dataplane.names import FENCE, LOG_MARK
from stockade.dataplane.nflog import (
    NETLINK_NETFILTER,
    TYPE_PACKET,
    Logged,
    bind_request,
    error_code,
    messages,
    parse_head,
    parse_logged,
)
from stockade.model.netpol import EGRESS, INGRESS
from stockade.net.cidr import format_address

_NAMES = {number: name for name, number in PROTOCOLS.items()} | {PROTOCOLS["ICMPv6"]: "ICMP"}
_DIRECTIONS = {"e": EGRESS, "re": EGRESS, "i": INGRESS, "ri": INGRESS, FENCE: ""}
_RECEIVE_BUFFER = 4 << 20
_KERNEL_BUFFER = 128 << 10
_QUEUE = 50  # packets that the kernel gathers before it wakes us: sustains 190 000 a second (reference dataplane 5)
_TIMEOUT_CS = 1  # but no longer than 10 ms
_READS_AT_ONCE = 64
_REPLY_WAIT = 1.0


class DropLogError(Exception):
    """The group cannot be read; the text says why and what to do."""


class DropRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``chain`` is e, i, re, ri or fence; ``direction`` Egress, Ingress, or empty for the fence. ``protocol`` is TCP, UDP, SCTP,
    ICMP or a number. ``time`` is in seconds since the epoch."""

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
    time: float

    @property
    def is_reply(self) -> bool:
        """The denied packet went from ``destination`` to ``source``."""
        return self.chain in {"re", "ri"}

    def __str__(self) -> str:
        source, destination = (_end(self.family, *end) for end in self._ends)
        return f"{source} -> {destination} {self.protocol} {self.direction or 'fence'}".strip()

    @property
    def _ends(self) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
        return (self.source, self.sport), (self.destination, self.dport)


def record_of(logged: Logged, now: float) -> DropRecord | None:
    """None for what others log to the same group, and for what is no IP packet."""
    mark, _, rest = logged.prefix.partition("|")
    code, _, profile = rest.partition("|")
    head = parse_head(logged.payload)
    if mark != LOG_MARK or code not in _DIRECTIONS or head is None:
        return None
    if code in {"re", "ri"}:
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
        time=now if logged.seconds is None else logged.seconds,
    )


class DropLog:
    """Opens with ``async with`` or the first ``async for``; ends when closed. Raises DropLogError when it cannot open or go on.

    ``lost`` counts the times the kernel had to drop messages, and records dropped here because nobody took them.
    """

    def __init__(self, group: int, *, snaplen: int = 96, limit: int = 10_000) -> None:
        self._group = group
        self._snaplen = snaplen
        self._records: deque[DropRecord] = deque(maxlen=limit)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()
        self._closed = False
        self._failure: DropLogError | None = None
        self.lost = 0

    def open(self) -> None:
        """Bind the group. Call inside the running loop, in the right network namespace."""
        if self._socket is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._socket = _bound_socket(self._group, self._snaplen)
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._socket = None
        self._closed = True
        self._wakeup.set()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DropRecord:
        if not self._closed:
            self.open()
        while not self._records:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._records.popleft()

    def _on_readable(self) -> None:
        """A bounded number of datagrams, so that a flood does not starve the loop."""
        for _ in range(_READS_AT_ONCE):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(_KERNEL_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    self._failure = DropLogError(f"NFLOG group {self._group}: {error.strerror}")
                    self.close()
                    return
                self.lost += 1
                continue
            self._take(data)

    def _take(self, data: bytes) -> None:
        now = time.time()
        for kind, body in messages(data):
            if kind != TYPE_PACKET:
                continue
            record = record_of(parse_logged(body), now)
            if record is not None:
                self.lost += len(self._records) == self._records.maxlen
                self._records.append(record)
        if self._records:
            self._wakeup.set()


def _bound_socket(group: int, snaplen: int) -> socket.socket:
    """Raises DropLogError."""
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise DropLogError(f"no netfilter netlink socket: {error.strerror}") from error
    try:
        opened.bind((0, 0))
        _enlarge(opened)
        request = bind_request(
            group,
            snaplen=snaplen,
            queue=_QUEUE,
            timeout_cs=_TIMEOUT_CS,
            buffer=_KERNEL_BUFFER,
            sequence=1,
        )
        opened.send(request)
        opened.settimeout(_REPLY_WAIT)
        _check_answer(opened, group)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise DropLogError(f"NFLOG group {group}: {error.strerror or error}") from error
    except DropLogError:
        opened.close()
        raise
    return opened


def _enlarge(opened: socket.socket) -> None:
    """Beyond rmem_max when we may (root of the namespace), else as far as it goes."""
    force = 33  # SO_RCVBUFFORCE
    try:
        opened.setsockopt(socket.SOL_SOCKET, force, _RECEIVE_BUFFER)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _check_answer(opened: socket.socket, group: int) -> None:
    """The acknowledgement may come behind packets of the group."""
    while True:
        for kind, body in messages(opened.recv(_KERNEL_BUFFER)):
            code = error_code(kind, body)
            if code is None:
                continue
            if code == 0:
                return
            hint = os.strerror(code)
            if code in {errno.EPERM, errno.EBUSY}:  # the kernel says EPERM for both
                hint = "another program reads this group (choose another one), or CAP_NET_ADMIN is missing"
            raise DropLogError(f"NFLOG group {group}: {hint}")


def _end(family: int, address: int, port: int | None) -> str:
    text = format_address(family, address)
    if port is None:
        return text
    return f"[{text}]:{port}" if family == 6 else f"{text}:{port}"
