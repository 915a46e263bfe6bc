"""Live flows: a packet each millisecond on every flow, and when the last one arrived. A program of its own, so that the programming of
rules in the process that started it does not hold it up.

    python stream.py NAME:SENDER:RECEIVER ...          # descriptors of connected sockets; ends with standard input

Out: ``ready`` when every flow flows, then, at the end, JSON: name -> seconds (CLOCK_MONOTONIC) of the last byte delivered to the receiving
socket. Called by ``cut``.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time

_INTERVAL = 0.001
_PAYLOAD = b"." * 64


def main() -> None:
    flows = [argument.split(":") for argument in sys.argv[1:]]
    senders = [socket.socket(fileno=int(sender)) for _, sender, _ in flows]
    receivers = {int(receiver): (name, socket.socket(fileno=int(receiver))) for name, _, receiver in flows}
    last: dict[str, float] = {}
    ready = False
    watched = select.poll()
    for _, receiver in receivers.values():
        receiver.setblocking(False)
        watched.register(receiver, select.POLLIN)
    for sender in senders:
        sender.setblocking(False)
    watched.register(sys.stdin, select.POLLIN)
    due = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= due:
            _send(senders)
            due = max(due + _INTERVAL, now)
        events = watched.poll(max(0.0, due - time.monotonic()) * 1000)
        moment = time.monotonic()
        for descriptor, _ in events:
            if descriptor not in receivers:
                print(json.dumps(last), flush=True)
                return
            name, receiver = receivers[descriptor]
            with contextlib.suppress(OSError):
                if receiver.recv(65536):
                    last[name] = moment
        if not ready and len(last) == len(flows):
            ready = True
            print("ready", flush=True)


def _send(senders: list[socket.socket]) -> None:
    for sender in senders:
        with contextlib.suppress(OSError):  # a full buffer, once the flow is cut
            sender.send(_PAYLOAD)


if __name__ == "__main__":
    main()
