"""A stream of packets from a process of its own, while somebody changes the rules: allowed ones must all arrive, denied ones never.

In: a Fabric in which the pod at ``CLIENT`` may send UDP to port ``OPEN`` of the pod at ``SERVER``, and nothing else may reach that pod, whatever is
done to the rules meanwhile. Out: how many were sent, lost and leaked. Both families; known connections in both directions and new ones (raw
sockets, fresh source ports). Called by ``stockade.testing.swaps`` and the kernel tests.

Packets go in small bursts, each waiting until all its allowed packets are there: so no queue between the ends can overflow, and a packet
that is missing was dropped by a rule.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import struct
import time
from contextlib import ExitStack
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Self

import msgspec

from stockade.testing.fabric import Fabric, addresses
from stockade.testing.namespaces import inside

CLIENT, SERVER, STRANGER = 1, 3, 5  # places, all of node-1
OPEN, CLOSED = 80, 81
_PATIENCE = 1.0  # seconds until a packet counts as lost
_LINGER = 0.1  # seconds in which a leak may still come in after the last burst
_SO_RCVBUFFORCE = 33
_IPV6_CHECKSUM = 7
_KNOWN, _NEW = 4, 4  # packets of each kind, family and port in one burst
_FRESH_PORTS = range(10_000, 20_000)  # of new allowed connections; more would fill the connection table
_HEADER = struct.Struct("!HHHH")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_CONTEXT = multiprocessing.get_context("fork")


class Counts(msgspec.Struct, frozen=True):
    """``allowed`` and ``denied`` were sent; of those ``lost`` did not arrive, and ``leaked`` did."""

    allowed: int
    denied: int
    lost: int
    leaked: int

    @property
    def sent(self) -> int:
        return self.allowed + self.denied


class Stream:
    """Runs while it is entered; ``counts`` may be asked any time, and are final afterwards."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._stop = _CONTEXT.Event()
        names = ("allowed", "denied", "lost", "leaked")
        self._shared: dict[str, Synchronized[int]] = {name: _CONTEXT.Value("Q", 0) for name in names}
        self._process = _CONTEXT.Process(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._process.join(10)
        if kind is None and self._process.exitcode != 0:
            raise RuntimeError(f"the stream ended with status {self._process.exitcode}")

    @property
    def counts(self) -> Counts:
        return Counts(**{name: value.value for name, value in self._shared.items()})

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def _run(self) -> None:
        with ExitStack() as stack:
            burst = _Burst(self._fabric, stack)
            while not self._stop.is_set():
                burst.send()
                self._add("lost", burst.wait())
                self._add("allowed", burst.allowed)
                self._add("denied", burst.denied)
                self._add("leaked", burst.leaked())
            time.sleep(_LINGER)
            self._add("leaked", burst.leaked())

    def _add(self, name: str, number: int) -> None:
        self._shared[name].value += number


class _Burst:
    def __init__(self, fabric: Fabric, stack: ExitStack) -> None:
        self.allowed = self.denied = 0
        self._ports = 0
        with inside(fabric.full(f"p{SERVER}")):
            self._open = stack.enter_context(_listener(OPEN))
            self._closed = stack.enter_context(_listener(CLOSED))
        with inside(fabric.full(f"p{CLIENT}")):
            self._known = [stack.enter_context(_connected(at, OPEN)) for at in (0, 1)]
            self._denied = [stack.enter_context(_connected(at, CLOSED)) for at in (0, 1)]
            self._raw = [stack.enter_context(_raw(at)) for at in (0, 1)]
        with inside(fabric.full(f"p{STRANGER}")):
            self._denied += [stack.enter_context(_connected(at, OPEN)) for at in (0, 1)]
            self._strange = [stack.enter_context(_raw(at)) for at in (0, 1)]
        self._peers: list[tuple[str, int]] = []
        self._find_peers()

    def _find_peers(self) -> None:
        """Where the server's own packets go: connections that the client has begun."""
        for client in self._known:
            client.send(b"a")
            if not select.select([self._open], [], [], _PATIENCE)[0]:
                raise RuntimeError("the stream does not start: an allowed packet is denied")
            self._peers.append(self._open.recvfrom(8)[1])

    def send(self) -> None:
        self.allowed = self.denied = 0
        for at in (0, 1):
            for _ in range(_KNOWN):
                self._denied[at].send(b"d")
                self._known[at].send(b"a")
                self._open.sendto(b"a", self._peers[at])
                self._denied[at + 2].send(b"s")
            for _ in range(_NEW):
                self._ports += 1
                fresh = _FRESH_PORTS[self._ports % len(_FRESH_PORTS)]
                _send_from(self._raw[at], fresh, OPEN, b"a")
                _send_from(self._raw[at], 1024 + self._ports % 60_000, CLOSED, b"d")
                _send_from(self._strange[at], 1024 + self._ports % 60_000, OPEN, b"s")
            self.allowed += 2 * _KNOWN + _NEW
            self.denied += 2 * _KNOWN + 2 * _NEW

    def wait(self) -> int:
        """Until all allowed packets of this burst are there; how many are not."""
        due = {self._open: 2 * (_KNOWN + _NEW), self._known[0]: _KNOWN, self._known[1]: _KNOWN}
        self._leaks = 0
        end = time.monotonic() + _PATIENCE
        while any(left > 0 for left in due.values()) and time.monotonic() < end:
            ready, _, _ = select.select([each for each, left in due.items() if left > 0], [], [], 0.05)
            for each in ready:
                due[each] -= self._drain(each)
        return sum(due.values())

    def _drain(self, receiver: socket.socket) -> int:
        """Allowed packets; others are leaks."""
        found = 0
        while True:
            try:
                data = receiver.recv(8)
            except BlockingIOError:
                return found
            found += data == b"a"
            self._leaks += data != b"a"

    def leaked(self) -> int:
        self._leaks += self._drain(self._closed)
        self._drain(self._open)
        found, self._leaks = self._leaks, 0
        return found


def _listener(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
    made.bind(("::", port))
    made.setblocking(False)
    return made


def _connected(at: int, port: int) -> socket.socket:
    made = socket.socket(_FAMILIES[at], socket.SOCK_DGRAM)
    made.connect((addresses(SERVER)[at], port))
    made.setblocking(False)
    return made


def _raw(at: int) -> socket.socket:
    """Sends datagrams with a source port of ours; what it would receive is not read."""
    made = socket.socket(_FAMILIES[at], socket.SOCK_RAW, socket.IPPROTO_UDP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    if at == 1:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, 6)
    made.connect((addresses(SERVER)[at], 0))
    return made


def _send_from(raw: socket.socket, sport: int, dport: int, data: bytes) -> None:
    """Without a checksum in IPv4, which there is allowed; the kernel adds that of IPv6."""
    raw.send(_HEADER.pack(sport, dport, _HEADER.size + len(data), 0) + data)
