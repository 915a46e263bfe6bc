"""The first packet of each connection goes to a process that decides, as in kube-network-policies. Called by ``layouts``.

Run as a program it is that process: it reads packets from queue 0 of its network namespace, looks source, destination and port up in the
policies it was given (JSON on standard input) and answers. The answer marks the packet, the mark is saved to the connection, and later
packets, also of connections without a reply, do not come here. It ends when standard input does.

The bound of what Python can do here, not of what another language can: one look-up in one dictionary, one answer for each packet.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster import World
    from triples import Namespace

_RULES = """\
*mangle
-A POSTROUTING -m mark --mark 1 -j CONNMARK --save-mark
COMMIT
*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m connmark --mark 1 -j ACCEPT
-A FORWARD -j NFQUEUE --queue-num 0
COMMIT
"""
_SUBSYSTEM = 3 << 8  # NFNL_SUBSYS_QUEUE
_VERDICT, _CONFIG = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_HEADER = struct.Struct("=IHHIIBBH")
_DROP, _ACCEPT = 0, 1
_PAYLOAD, _MARK = 10, 3
_SO_RCVBUFFORCE = 33
_READY = b"ready\n"


def load(namespace: Namespace, made: World) -> Callable[[], None]:
    table = [
        [list(policy.pods), [[r.selector, r.low, r.high] for r in policy.rules]] for policy in made.policies
    ]
    given = {"pods": made.pods, "peers": made.peers, "selectors": made.selectors, "policies": table}
    process = namespace.do(
        lambda: subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    stdin.write(json.dumps(given).encode() + b"\n")
    if stdout.readline() != _READY:
        raise OSError("the process that decides did not start")
    namespace.run("iptables-legacy-restore", text=_RULES)

    def end() -> None:
        stdin.close()
        process.wait()
        stdout.close()

    return end


def _decide() -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the sender that started us keeps to one processor
    allowed = _table(json.loads(sys.stdin.buffer.readline()))
    queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    queue.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 23)  # a whole burst
    queue.bind((0, 0))
    queue.send(_message(_CONFIG, _attribute(1, struct.pack("!BxH", 1, socket.AF_INET))))
    queue.send(_message(_CONFIG, _attribute(2, struct.pack("!IB", 128, 2))))  # copy 128 octets
    os.write(1, _READY)
    watched = select.poll()
    for each in (queue, sys.stdin):
        watched.register(each, select.POLLIN)
    while all(descriptor == queue.fileno() for descriptor, _ in watched.poll()):
        _answer(queue, allowed)


def _answer(queue: socket.socket, allowed: dict[bytes, list[tuple[int, int]]]) -> None:
    data = queue.recv(65536)
    number, payload = b"", b""
    offset = 20
    while offset < len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if kind == 1:
            number = data[offset + 4 : offset + 8]
        elif kind == _PAYLOAD:
            payload = data[offset + 4 : offset + length]
        offset += length + (-length % 4)
    (port,) = struct.unpack_from("!H", payload, 22)
    fits = any(low <= port <= high for low, high in allowed.get(payload[12:20], ()))
    verdict = struct.pack("!I", _ACCEPT if fits else _DROP) + number
    queue.send(_message(_VERDICT, _attribute(2, verdict) + _attribute(_MARK, struct.pack("!I", 1))))


def _table(given: dict[str, Any]) -> dict[bytes, list[tuple[int, int]]]:
    """(source, destination) as in the packet -> ranges of ports."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    for pods, rules in given["policies"]:
        for selector, low, high in rules:
            for peer in given["selectors"][selector]:
                for pod in pods:
                    key = struct.pack("!II", given["pods"][pod], given["peers"][peer])
                    found.setdefault(key, []).append((low, high))
    return found


def _message(kind: int, attributes: bytes) -> bytes:
    """Of queue 0."""
    return _HEADER.pack(_HEADER.size + len(attributes), kind, 1, 0, 0, 0, 0, 0) + attributes


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


if __name__ == "__main__":
    _decide()
