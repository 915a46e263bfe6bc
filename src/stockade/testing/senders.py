"""Programs in pods that have just started: they send as soon as they can, and outside everything that arrives is counted.

In: ``Starting`` pods, told when the API knows them and when they are programmed. Out: ``Counted``. One thread sends for all pods and receives
for all. Called by ``stockade.testing.starts``.

Each round a pod sends a datagram in each family from a fixed port (so a later pod of the same address repeats its predecessor's connection)
and the SYN of a new TCP connection, whose source port is the pod's number; and a datagram is sent to it from outside.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import msgspec

from stockade.testing.namespaces import inside
from stockade.testing.network import Network

OUTSIDE = ("93.184.216.34", "2001:db8::7")
PORT, POD_PORT = 8080, 9000
_FIRST_TCP_PORT = 10_000
_SYN, _ACK = 0x02, 0x10
_ROUND = 0.005  # seconds between rounds
_MESSAGE = struct.Struct("!IIB")  # pod, number of the packet, stage
_EARLY, _ON_THE_WAY, _PROGRAMMED = 0, 1, 2  # before the API knows the pod; before its programming; after
_SO_RCVBUFFORCE = 33
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Starting:
    """One pod. ``known``: the API has it; ``programmed``: the gate said yes."""

    def __init__(self, number: int, *, allowed: bool, host: int) -> None:
        self.number = number
        self.allowed = allowed
        self.host = host
        self.name = f"p{number}"
        self.uid = f"uid-{number}"
        self.addresses = f"10.244.{host >> 8}.{host & 0xFF}", f"fd44::{host:x}"
        self.known = self.programmed = False
        self.stack = ExitStack()
        self.udp: list[socket.socket] = []

    @property
    def stage(self) -> int:
        if self.programmed:
            return _PROGRAMMED
        return _ON_THE_WAY if self.known else _EARLY


class Counted(msgspec.Struct):
    """``denied``: sent by or to denied pods. ``early``: of others, before the API knew them. ``due``: of allowed pods after their
    programming. ``missing``: those of them that have not arrived, by number: pod, family, direction and time."""

    denied: int = 0
    early: int = 0
    due: int = 0
    missing: dict[int, str] = msgspec.field(default_factory=dict)
    leaks: list[str] = msgspec.field(default_factory=list)

    @property
    def leaked(self) -> int:
        return len(self.leaks)

    @property
    def lost(self) -> int:
        return len(self.missing)


class Senders:
    """Works while it is entered."""

    def __init__(self, network: Network) -> None:
        self.counted = Counted()
        self._network = network
        self._pods: dict[int, Starting] = {}
        self._sent = 0
        self._active: set[int] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._listener = network.listen("outside", PORT, socket.SOCK_DGRAM)
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
        self._listener.setblocking(False)
        self._syns = [
            network.open("outside", socket.SOCK_RAW, family, socket.IPPROTO_TCP) for family in _FAMILIES
        ]
        for each in self._syns:
            each.setblocking(False)
        self._outside = [network.open("outside", socket.SOCK_DGRAM, family) for family in _FAMILIES]
        # A handshake may end; only its first packet is counted.
        network.listen("outside", PORT)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def equip(self, pod: Starting) -> None:
        """Its sockets, as soon as its link is up."""
        with inside(f"{self._network.id}-{pod.name}"):
            for family, address in zip(_FAMILIES, pod.addresses, strict=True):
                made = pod.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                made.bind((address, POD_PORT))
                made.setblocking(False)
                pod.udp.append(made)
        with self._lock:
            self._pods[pod.number] = pod

    def start(self, pod: Starting) -> None:
        with self._lock:
            self._active.add(pod.number)

    def stop(self, pod: Starting) -> None:
        with self._lock:
            self._active.discard(pod.number)

    def forget(self, pod: Starting) -> None:
        with self._lock:
            self._receive()
            del self._pods[pod.number]
            pod.stack.close()

    def _run(self) -> None:
        while not self._over.is_set():
            with self._lock:
                for number in self._active:
                    self._send(self._pods[number])
                self._receive()
            time.sleep(_ROUND)
        with self._lock:
            self._receive()

    # -- sending

    def _send(self, pod: Starting) -> None:
        stage = pod.stage
        for at in (0, 1):
            pod.udp[at].sendto(self._message(pod, stage, f"IPv{4 + 2 * at} out"), (OUTSIDE[at], PORT))
            data = self._message(pod, stage, f"IPv{4 + 2 * at} in")
            self._outside[at].sendto(data, (pod.addresses[at], POD_PORT))
        self._connect(pod)
        if not pod.allowed:
            self.counted.denied += 6
        elif stage == _EARLY:
            self.counted.early += 4

    def _message(self, pod: Starting, stage: int, way: str) -> bytes:
        self._sent += 1
        if pod.allowed and stage == _PROGRAMMED:
            self.counted.due += 1
            self.counted.missing[self._sent] = f"{time.time():.3f} pod {pod.number} {way}"
        return _MESSAGE.pack(pod.number, self._sent, stage)

    def _connect(self, pod: Starting) -> None:
        """A SYN in each family; forgotten at once, so that nothing is sent again."""
        with inside(f"{self._network.id}-{pod.name}"):
            for at in (0, 1):
                with socket.socket(_FAMILIES[at], socket.SOCK_STREAM) as made:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    made.setblocking(False)
                    made.bind((pod.addresses[at], _FIRST_TCP_PORT + pod.number))
                    made.connect_ex((OUTSIDE[at], PORT))

    # -- receiving

    def _receive(self) -> None:
        self._datagrams(self._listener)
        for pod in self._pods.values():
            for each in pod.udp:
                self._datagrams(each)
        for at, each in enumerate(self._syns):
            self._segments(each, at)

    def _datagrams(self, receiver: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                number, packet, stage = _MESSAGE.unpack(receiver.recv(16))
                pod = self._pods.get(number)
                what = f"UDP of pod {number}, stage {stage}"
                if pod is None:
                    self.counted.leaks.append(f"{what}, which is gone")
                elif not pod.allowed or stage == _EARLY:
                    self.counted.leaks.append(f"{what}, allowed: {pod.allowed}")
                else:
                    self.counted.missing.pop(packet, None)

    def _segments(self, receiver: socket.socket, at: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = receiver.recv(256)
                segment = data if at else data[(data[0] & 0xF) * 4 :]
                sport, flags = int.from_bytes(segment[:2], "big"), segment[13]
                pod = self._pods.get(sport - _FIRST_TCP_PORT)
                if flags & (_SYN | _ACK) == _SYN and (pod is None or not pod.allowed or not pod.known):
                    self.counted.leaks.append(f"SYN of pod {sport - _FIRST_TCP_PORT}")
