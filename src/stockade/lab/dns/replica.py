"""One DNS server process, as the container of a pod: it talks to strangers, and knows nothing itself.

In: a socket to the daemon (``feed``), and what arrives on port 53 (UDP, TCP) and on the ports of health, readiness and metrics. Out: answers;
lines for ``kubectl logs``. Forked from pid 1 of the lab without exec (``node.launch``), so that it starts in a few milliseconds and shares its
memory: standard library only, and imported in the child alone. ``opened`` runs before privileges are dropped, ``run`` after: no
capability, user 65532 where there is one, the system call filter, a root without any program.
Ports and paths are CoreDNS's: /health on 8080, /ready on 8181, /metrics on 9153. Bounds: connections, bytes held for each, questions
under way; what exceeds them is dropped, and a DNS client asks again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from stockade.lab.dns import question, status_page
from stockade.lab.dns.question import Question

PORT: Final = 53
HEALTH, READY, METRICS = 8080, 8181, 9153
_BACKLOG: Final = 128
_TURN: Final = 32
_LARGEST_QUERY: Final = 65535
_LARGEST_HEAD: Final = 16384
_MOST_CONNECTIONS: Final = 256
_MOST_UNDER_WAY: Final = 1024
_MOST_HELD: Final = 2 * 65537
_MOST_AT_ONCE: Final = 16
"""Questions of one connection under way; the others wait, so that one client cannot take all."""
_IDLE_SECONDS: Final = 10.0
_LAME_DUCK: Final = 0.5
"""Seconds from SIGTERM to the end: every node's Services lead elsewhere by then."""


class Sockets(NamedTuple):
    """``listeners`` by port."""

    datagrams: socket.socket
    listeners: dict[int, socket.socket]


def opened() -> Sockets:
    """Bound and listening on every address of the pod. OSError says which port is taken."""
    has_ipv6 = _has_ipv6()
    listeners = {port: _bound(socket.SOCK_STREAM, port, has_ipv6) for port in (PORT, HEALTH, READY, METRICS)}
    return Sockets(_bound(socket.SOCK_DGRAM, PORT, has_ipv6), listeners)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bound(kind: socket.SocketKind, port: int, has_ipv6: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if has_ipv6 else socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        if has_ipv6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("::" if has_ipv6 else "0.0.0.0", port))  # noqa: S104 - a server in a pod serves the pod's addresses
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"listen on :{port}: {error.strerror}") from error
    return made


class _Connection:
    """One TCP client: what it sent and was not read yet, what it shall get and did not take yet."""

    def __init__(self, sock: socket.socket, port: int) -> None:
        self.socket = sock
        self.port = port
        self.received = bytearray()
        self.waiting = bytearray()
        self.last = time.monotonic()
        self.under_way = 0
        self.ends = False  # when everything is sent
        self.closed = False


class _Asker(NamedTuple):
    """Who waits for an answer: the query's id, the type asked for, and where to send it."""

    id: bytes
    type: int
    address: tuple[object, ...] | None
    connection: _Connection | None


class Replica:
    def __init__(self, feed: socket.socket, sockets: Sockets) -> None:
        self._feed = feed
        self._sockets = sockets
        self._poll = select.poll()
        self._on: dict[int, Callable[[], None]] = {}
        self._connections: dict[int, _Connection] = {}
        self._askers: dict[int, _Asker] = {}
        self._last_number = 0
        self._ends_at: float | None = None
        self._fed = True
        self._counts: status_page.Counts = {}

    def run(self) -> int:
        """Until SIGTERM, or until the daemon is gone; the exit status."""
        read, write = os.pipe2(os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(write, b"!"))
        self._watch(read, lambda: self._stop(read))
        self._watch(self._feed.fileno(), self._on_answers)
        self._watch(self._sockets.datagrams.fileno(), self._on_datagrams)
        for port, listener in self._sockets.listeners.items():
            self._watch(listener.fileno(), lambda port=port: self._accept(port))  # type: ignore[misc]
        while self._fed and (self._ends_at is None or time.monotonic() < self._ends_at):
            self._turn()
        return 0 if self._fed else 1

    def _turn(self) -> None:
        for fd, events in self._poll.poll(self._patience()):
            connection = self._connections.get(fd)
            if connection is not None:
                self._converse(connection, events)
            elif fd in self._on:
                self._on[fd]()
        self._close_idle()

    def _patience(self) -> int | None:
        """Milliseconds; None: until something happens."""
        if self._ends_at is not None:
            return max(0, int(1000 * (self._ends_at - time.monotonic()))) + 1
        return 1000 if self._connections else None

    def _watch(self, fd: int, call: Callable[[], None]) -> None:
        self._on[fd] = call
        self._poll.register(fd, select.POLLIN)

    def _stop(self, told: int) -> None:
        os.read(told, 64)
        self._ends_at = self._ends_at or time.monotonic() + _LAME_DUCK

    # questions

    def _on_datagrams(self) -> None:
        for _ in range(_TURN):
            try:
                query, address = self._sockets.datagrams.recvfrom(_LARGEST_QUERY)
            except OSError:  # nothing more, or an ICMP error of an earlier answer
                return
            answer = self._ask(query, address, None)
            if answer is not None:
                self._send_datagram(answer, address)

    def _ask(
        self, query: bytes, address: tuple[object, ...] | None, connection: _Connection | None
    ) -> bytes | None:
        """Pass it on; the answer, when it needs no names."""
        asked = question.read(query)
        if not isinstance(asked, Question):
            return asked
        if len(self._askers) >= _MOST_UNDER_WAY:
            del self._askers[next(iter(self._askers))]  # the oldest: its client has long asked again
        self._last_number = number = (self._last_number + 1) & 0xFFFFFFFF
        fields = [[label.decode("latin-1") for label in asked.labels], *asked[1:], connection is not None]
        with contextlib.suppress(OSError):  # the daemon is busy: dropped
            self._feed.send(number.to_bytes(4, "big") + json.dumps(fields).encode())
            self._askers[number] = _Asker(query[:2], asked.type, address, connection)
            if connection is not None:
                connection.under_way += 1
        return None

    def _on_answers(self) -> None:
        for _ in range(_TURN):
            try:
                message = self._feed.recv(_LARGEST_QUERY + 64)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._fed = False
                return
            asker = self._askers.pop(int.from_bytes(message[:4], "big"), None)
            if asker is not None:
                self._pass_on(asker, asker.id + message[6:])

    def _pass_on(self, asker: _Asker, answer: bytes) -> None:
        protocol = "udp" if asker.connection is None else "tcp"
        key = (protocol, asker.type, answer[3] & 15)
        self._counts[key] = self._counts.get(key, 0) + 1
        if asker.connection is None:
            self._send_datagram(answer, asker.address or ())
            return
        asker.connection.under_way -= 1
        self._read_queries(asker.connection)  # the next one that waits
        self._send(asker.connection, len(answer).to_bytes(2, "big") + answer)

    def _send_datagram(self, answer: bytes, address: tuple[object, ...]) -> None:
        with contextlib.suppress(OSError):
            self._sockets.datagrams.sendto(answer, address)

    # connections

    def _accept(self, port: int) -> None:
        try:
            made, _ = self._sockets.listeners[port].accept()
        except OSError:
            return
        made.setblocking(False)
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._close(min(self._connections.values(), key=lambda each: each.last))
        self._connections[made.fileno()] = _Connection(made, port)
        self._poll.register(made.fileno(), select.POLLIN)

    def _converse(self, connection: _Connection, events: int) -> None:
        if events & (select.POLLHUP | select.POLLERR):  # reset: it half-closes otherwise
            self._close(connection)
            return
        try:
            if events & select.POLLIN:
                piece = connection.socket.recv(65536)
                if not piece:
                    connection.ends = True
                connection.received += piece
                connection.last = time.monotonic()
                self._read(connection)
            self._flush(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        if connection.port == PORT:
            self._read_queries(connection)
        elif b"\r\n\r\n" in connection.received or connection.ends:
            page = status_page.respond(bytes(connection.received), connection.port == METRICS, self._counts)
            connection.received.clear()
            connection.ends = True
            self._send(connection, page)
        elif len(connection.received) > _LARGEST_HEAD:
            self._close(connection)

    def _read_queries(self, connection: _Connection) -> None:
        """Each with its length before it (RFC 1035 4.2.2)."""
        received = connection.received
        while connection.under_way < _MOST_AT_ONCE and len(received) >= 2:
            length = int.from_bytes(received[:2], "big")
            if len(received) < 2 + length:
                break
            query = bytes(received[2 : 2 + length])
            del received[: 2 + length]
            answer = self._ask(query, None, connection)
            if answer is not None:
                self._send(connection, len(answer).to_bytes(2, "big") + answer)

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.closed:
            return
        connection.waiting += data
        if len(connection.waiting) > _MOST_HELD:  # it asks, and does not listen
            self._close(connection)
            return
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.closed:
            return
        try:
            if connection.waiting:
                del connection.waiting[: connection.socket.send(connection.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return
        if connection.ends and not connection.waiting and not connection.under_way:
            # what is left is no whole question
            self._close(connection)
            return
        full = connection.ends or len(connection.received) >= _MOST_HELD
        reading = 0 if full else select.POLLIN
        self._poll.modify(connection.socket, reading | (select.POLLOUT if connection.waiting else 0))

    def _close(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            fd = connection.socket.fileno()
            self._poll.unregister(fd)
            del self._connections[fd]
            connection.socket.close()

    def _close_idle(self) -> None:
        since = time.monotonic() - _IDLE_SECONDS
        for connection in [each for each in self._connections.values() if each.last < since]:
            self._close(connection)


def run(feed: socket.socket, sockets: Sockets) -> int:
    """The whole life of the process after its privileges are dropped."""
    sys.stdout.write(f".:{PORT}\nStockade's cluster DNS: UDP and TCP on port {PORT}, ")
    sys.stdout.write(f"/health on {HEALTH}, /ready on {READY}, /metrics on {METRICS}\n")
    sys.stdout.flush()
    feed.setblocking(False)
    code = Replica(feed, sockets).run()
    sys.stdout.write("the lab's daemon has gone\n" if code else "SIGTERM: shutting down\n")
    sys.stdout.flush()
    return code
