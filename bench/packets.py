"""Packets made in advance and sent in bursts by one system call; a counter of what came out; a conntrack table emptied.

In: flows. Out: Burst values and the nanoseconds a burst took from its first byte to the last packet that the far end received.
Called by ``dataplane``. packet(7), sendmmsg(2); ctnetlink's IPCTNL_MSG_CT_DELETE without a tuple empties the table of one namespace.

With veth the whole path (send, forward hook, deliver) runs in the sender's softirq, so the time of the system call is the time of the
path; a verdict that comes from another process is waited for, by looking at the counter of the far end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from cluster import Flow
from stockade.dataplane.netlink import NETLINK_NETFILTER, NetlinkSocket, Request
from triples import CLIENT_MAC, LINK, ROUTER_CLIENT_MAC, ROUTER_SERVER_MAC, SERVER_MAC, Namespace

PAYLOAD = b"\0" * 22  # makes frames of 64 octets
_ETHERTYPE, _UDP = b"\x08\x00", 17
_CT_DELETE = 1 << 8 | 2
_PATIENCE = 10.0  # seconds for one burst, then packets are taken for lost
_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


class Burst:
    """Frames ready to be sent; any number of sockets may send it."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.count = len(frames)
        self._buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        self._vectors = (_Vector * self.count)()
        self._messages = (_Message * self.count)()
        for buffer, vector, message in zip(self._buffers, self._vectors, self._messages, strict=True):
            vector.base, vector.length = ctypes.addressof(buffer), len(buffer)
            message.header.vectors = ctypes.pointer(vector)
            message.header.vector_count = 1

    def send(self, descriptor: int) -> None:
        sent = 0
        while sent < self.count:
            done = _libc.sendmmsg(
                descriptor, ctypes.byref(self._messages[sent]), ctypes.c_uint(self.count - sent), 0
            )
            if done < 0:
                number = ctypes.get_errno()
                raise OSError(number, f"sendmmsg: {os.strerror(number)}")
            sent += done


class LostError(Exception):
    """Packets of allowed flows did not arrive: the ruleset is wrong, or the machine is overloaded."""


class Sender:
    """Sends frames out of one namespace's link and counts those that the link of another receives."""

    def __init__(self, origin: Namespace, target: Namespace) -> None:
        self._socket = origin.do(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self._socket.bind((LINK, 0))
        self._counters = target.do(lambda: os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC))

    def timed(self, burst: Burst) -> int:
        """Nanoseconds until the last packet is out."""
        wanted = self._received() + burst.count
        with _undisturbed():
            started = time.perf_counter_ns()
            burst.send(self._socket.fileno())
            while (missing := wanted - self._received()) > 0:
                if time.perf_counter_ns() - started > _PATIENCE * 1e9:
                    raise LostError(f"{missing} of {burst.count} packets of allowed flows did not arrive")
            return time.perf_counter_ns() - started

    def _received(self) -> int:
        os.lseek(self._counters, 0, os.SEEK_SET)
        text = os.read(self._counters, 4096)
        _, _, fields = text.partition(f"{LINK}:".encode())
        return int(fields.split(maxsplit=2)[1])

    def close(self) -> None:
        self._socket.close()
        os.close(self._counters)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No other process takes the processor away, where the system lets us ask for that."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Conntrack:
    """The connections of one namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._netlink = namespace.do(lambda: NetlinkSocket(NETLINK_NETFILTER))

    def flush(self) -> None:
        self._netlink.execute(Request(_CT_DELETE, struct.pack("=BBH", 0, 0, 0), purpose="empty conntrack"))

    def close(self) -> None:
        self._netlink.close()


def first_frames(flows: Sequence[Flow]) -> Burst:
    """From the pods, as the router's client side gets them."""
    return Burst([_frame(f, ROUTER_CLIENT_MAC, CLIENT_MAC) for f in flows])


def reply_frames(flows: Sequence[Flow]) -> Burst:
    """To the pods, as the router's server side gets them."""
    turned = (Flow(f.destination, f.source, f.port, f.source_port) for f in flows)
    return Burst([_frame(f, ROUTER_SERVER_MAC, SERVER_MAC) for f in turned])


def _frame(flow: Flow, target: str, source: str) -> bytes:
    """No UDP checksum, which IPv4 allows (RFC 768)."""
    udp = struct.pack("!HHHH", flow.source_port, flow.port, 8 + len(PAYLOAD), 0) + PAYLOAD
    ends = struct.pack("!II", flow.source, flow.destination)
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP)
    checksum = struct.pack("!H", internet_checksum(head + ends))
    return _mac(target) + _mac(source) + _ETHERTYPE + head + checksum + ends + udp


def internet_checksum(data: bytes) -> int:
    """RFC 1071, of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
