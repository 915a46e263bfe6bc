"""Real packets between the namespaces of a fabric: sent all at once, answered by the other end, counted by the number they carry.

In: ``Probe`` values, each with a number of its own. Out: ``arrived`` (the numbers that reached the far end) and ``answered`` (whose answer
came back). Every place listens on every port of ``PORTS``: TCP connections carry a question and its answer, UDP datagrams are echoed,
ICMP echo is answered by the kernel, SCTP INIT by an INIT ACK over raw sockets. A connection can be kept and asked again later from
either end. Called by ``stockade.testing.witnesses``.

A late packet is counted under its own number whenever it comes, so nothing leaks unseen; what was sent is never sent again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from stockade.net.cidr import Address, format_address
from stockade.policy.verdict import ICMP
from stockade.testing import packets
from stockade.testing.fabric import Fabric
from stockade.testing.namespaces import inside
from stockade.testing.strategies import NODES

PORTS = (1, 53, 79, 80, 81, 82, 443, 8080, 8999, 9000, 65535)
QUESTION, ANSWER = b"Q", b"A"
_MESSAGE = struct.Struct("!cI")
_SO_RCVBUFFORCE = 33
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, no TIME_WAIT
_SCTP = 132
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
Peer = tuple[str, int] | tuple[str, int, int, int]
_ICMP_OF = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """``dial`` is what the source sends to: ``destination``, or the Service address that leads there."""

    number: int
    protocol: str  # TCP, UDP, SCTP or ICMP
    source: Address
    destination: Address
    dial: Address
    port: int


class Kept(msgspec.Struct, frozen=True):
    """A connection that works, with its two ends. ``peer`` and ``local`` say where a UDP server sends its datagrams from and to."""

    probe: Probe
    client: socket.socket
    server: socket.socket
    peer: Peer | None = None
    local: packets.Ancillary = ()


class Wires:
    """Sockets in every namespace; all closed when it is left."""

    def __init__(self, fabric: Fabric) -> None:
        self.arrived: set[int] = set()
        self.answered: set[int] = set()
        self._fabric = fabric
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._raw: dict[tuple[str, int, int], socket.socket] = {}
        self._clients: dict[int, socket.socket] = {}
        self._servers: dict[int, tuple[socket.socket, Peer | None, packets.Ancillary]] = {}
        self._streams: set[socket.socket] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for short in self._fabric.names:
            with inside(self._fabric.full(short)):
                for port in PORTS:
                    self._listen(port)
                for family in (4, 6):
                    self._open_raw(short, family)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget(())
        self._stack.close()
        self._epoll.close()

    def _listen(self, port: int) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = self._stack.enter_context(socket.socket(socket.AF_INET6, kind))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                made.listen(1024)
                self._watch(made, partial(self._accept, made))
            else:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                self._watch(made, partial(self._datagrams, made))

    def _open_raw(self, short: str, family: int) -> None:
        for protocol, handler in ((_ICMP_OF[family], self._echoes), (_SCTP, self._chunks)):
            made = self._stack.enter_context(socket.socket(_FAMILIES[family], socket.SOCK_RAW, protocol))
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)
            packets.want_local_address(made, family)
            if protocol == socket.IPPROTO_ICMPV6:
                packets.only_echoes(made)
            self._raw[short, family, protocol] = made
            self._watch(made, partial(handler, made, family))

    def _watch(self, made: socket.socket, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        made.setblocking(False)
        self._handlers[made.fileno()] = handler
        self._epoll.register(made, events)

    # -- sending

    def send(self, probes: Iterable[Probe]) -> None:
        """Grouped by where they start, for entering a namespace takes longer than sending."""
        groups: dict[str, list[Probe]] = {}
        for probe in probes:
            groups.setdefault(self._fabric.where[probe.source], []).append(probe)
        for short, members in groups.items():
            with inside(self._fabric.full(short)):
                for probe in members:
                    self._send_one(short, probe)

    def _send_one(self, short: str, probe: Probe) -> None:
        family = probe.source[0]
        if probe.protocol in {"TCP", "UDP"}:
            self._dial(probe)
            return
        source = [packets.local_address(probe.source)]
        where = (format_address(*probe.dial), 0)
        protocol = _ICMP_OF[family] if probe.protocol == ICMP else _SCTP
        if probe.protocol == ICMP:
            data = packets.echo_request(family, probe.number)
        else:
            sport = 1024 + probe.number % 60000
            data = packets.pack_init(packets.Init(sport, probe.port, probe.number))
        self._raw[short, family, protocol].sendmsg([data], source, 0, where)

    def _dial(self, probe: Probe) -> None:
        kind = socket.SOCK_STREAM if probe.protocol == "TCP" else socket.SOCK_DGRAM
        client = socket.socket(_FAMILIES[probe.source[0]], kind)
        self._clients[probe.number] = client
        client.setblocking(False)
        client.bind((format_address(*probe.source), 0))
        where = (format_address(*probe.dial), probe.port)
        if probe.protocol == "TCP":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            client.connect_ex(where)
            self._watch(client, partial(self._connected, client, probe.number), select.EPOLLOUT)
        else:
            client.sendto(_MESSAGE.pack(QUESTION, probe.number), where)
            client.connect(where)
            self._watch(client, partial(self._datagrams, client))

    def kept(self, probe: Probe) -> Kept | None:
        """The connection of an answered TCP or UDP probe, to be asked again."""
        client, server = self._clients.get(probe.number), self._servers.get(probe.number)
        return Kept(probe, client, *server) if client and server else None

    def tracked(self, probe: Probe) -> str:
        """What the nodes' connection tables say of a TCP or UDP probe, for a report."""
        client = self._clients.get(probe.number)
        if client is None:
            return ""
        port = client.getsockname()[1]
        found = []
        for short in NODES:
            with inside(self._fabric.full(short)):
                lines = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
            found += [f"{short}: {line}" for line in lines if f"port={port} " in line]
        return "\n".join(found)

    def ask_again(self, kept: Kept, number: int, *, server_first: bool) -> None:
        """A question over a connection that is there, from either end."""
        data = _MESSAGE.pack(QUESTION, number)
        if not server_first:
            kept.client.send(data)
        elif kept.peer is None:
            kept.server.send(data)
        else:
            kept.server.sendmsg([data], kept.local, 0, kept.peer)

    def collect(
        self, arrive: Collection[int], answer: Collection[int], grace: float, patience: float
    ) -> None:
        """Until all that should come has come (at most ``patience`` seconds), and ``grace`` seconds for what should not."""
        end = time.monotonic() + patience
        due, back = set(arrive), set(answer)
        while (due or back) and time.monotonic() < end:
            self._poll(0.05)
            due -= self.arrived
            back -= self.answered
        end = time.monotonic() + grace
        while (left := end - time.monotonic()) > 0:
            self._poll(left)

    def forget(self, kept: Collection[Kept]) -> None:
        """Close every connection but these."""
        clients = {each.client for each in kept}
        servers = {each.server for each in kept}
        for number, client in list(self._clients.items()):
            if client not in clients:
                self._close(client)
                del self._clients[number]
                self._servers.pop(number, None)
        for stream in self._streams - servers:
            self._close(stream)
        self._streams &= servers

    def _close(self, made: socket.socket) -> None:
        self._handlers.pop(made.fileno(), None)
        made.close()

    # -- receiving

    def _poll(self, timeout: float) -> None:
        for descriptor, _ in self._epoll.poll(timeout):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler()

    def _connected(self, client: socket.socket, number: int) -> None:
        if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._epoll.unregister(client)
            return
        client.send(_MESSAGE.pack(QUESTION, number))
        self._handlers[client.fileno()] = partial(self._stream, client)
        self._epoll.modify(client, select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                made, _ = listener.accept()
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                self._streams.add(made)
                self._watch(made, partial(self._stream, made))

    def _stream(self, stream: socket.socket) -> None:
        try:
            data = stream.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._epoll.unregister(stream)
            return
        for kind, number in _MESSAGE.iter_unpack(data):  # so few bytes are never split
            if self._take(kind, number):
                stream.send(_MESSAGE.pack(ANSWER, number))
                self._servers[number] = stream, None, ()

    def _datagrams(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                data, ancillary, _, peer = sock.recvmsg(64, 128)
                local = packets.reply_from(ancillary)
                kind, number = _MESSAGE.unpack(data)
                if self._take(kind, number):
                    answer = _MESSAGE.pack(ANSWER, number)
                    if local:
                        sock.sendmsg([answer], local, 0, peer)
                        self._servers[number] = sock, peer, local
                    else:
                        sock.send(answer)

    def _take(self, kind: bytes, number: int) -> bool:
        """Was it a question?"""
        (self.arrived if kind == QUESTION else self.answered).add(number)
        return kind == QUESTION

    def _echoes(self, raw: socket.socket, family: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                found = packets.read_echo(family, raw.recv(256))
                if found is not None:
                    number, is_answer = found
                    (self.answered if is_answer else self.arrived).add(number)

    def _chunks(self, raw: socket.socket, family: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, peer = raw.recvmsg(256, 128)
                init = packets.unpack_init(packets.payload(family, data))
                if init is None:
                    continue
                if init.answer:
                    self.answered.add(init.tag)
                    continue
                self.arrived.add(init.tag)
                answer = packets.Init(init.dport, init.sport, init.tag, answer=True)
                raw.sendmsg([packets.pack_init(answer)], packets.reply_from(ancillary), 0, (peer[0], 0))
