"""How soon live flows stop when a policy becomes stricter, as ``reference/dataplane.md`` 3 measured it.

In: sizes and runs. Out: a Cut for each of four flows: TCP and UDP, data from the pod (up) and to it (down). Called by ``dataplane``.

``stream`` sends one packet a millisecond on each flow. The policy of a pod then loses all its rules; what counts is the time from the start of the
transaction (the rules are computed, the difference is known) to the last byte that a receiver was given.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from cluster import Flow, Size, World, flows, policy, state, world
from node import Node
from results import Cut, name
from stockade.net.cidr import format_address
from stockade.store.delta import Delta, Upsert
from stockade.store.state import POLICIES
from triples import LINK, Triple

NAMES = ("TCP up", "TCP down", "UDP up", "UDP down")
_BEFORE, _AFTER = 0.05, 0.4  # seconds of streaming around the change
_STREAM = Path(__file__).with_name("stream.py")


def cuts(sizes: Iterable[Size], runs: int) -> Iterator[Cut]:
    for size in sizes:
        print(f"cutting flows at {name(size)}", file=sys.stderr, flush=True)
        found = _of_size(size, runs)
        yield from (Cut(size, flow, tuple(taken[flow] for taken in found)) for flow in NAMES)


def _of_size(size: Size, runs: int) -> list[dict[str, float]]:
    made = world(size)
    flow = flows(made, 1)[0]
    triple = Triple()
    try:
        _address(triple, flow)
        node = triple.router.do(lambda: Node(state(made)))
        triple.router.do(lambda: asyncio.run(node.start()))
        return [_once(triple, flow, node, *_changes(made, flow)) for _ in range(runs)]
    finally:
        triple.close()


def _changes(made: World, flow: Flow) -> tuple[list[Delta], list[Delta]]:
    """The policies of the flow's pod without their rules; and with them again."""
    numbers = made.policies_of[made.pods.index(flow.source)]
    chosen = [(f"policy-{n}", made.policies[n]) for n in numbers]
    stricter: list[Delta] = [Upsert(POLICIES, policy(title, each.group, ())) for title, each in chosen]
    back: list[Delta] = [Upsert(POLICIES, policy(title, each.group, each.rules)) for title, each in chosen]
    return stricter, back


def _address(triple: Triple, flow: Flow) -> None:
    """Client and server get the addresses of the flow, so that sockets can talk."""
    ends = ((triple.client, flow.source, "172.30.1.1"), (triple.server, flow.destination, "172.30.2.1"))
    for namespace, address, gateway in ends:
        namespace.run("ip", "addr", "add", f"{format_address(4, address)}/32", "dev", LINK)
        namespace.run("ip", "route", "add", "default", "via", gateway, "dev", LINK, "onlink")


def _once(
    triple: Triple, flow: Flow, node: Node, stricter: list[Delta], back: list[Delta]
) -> dict[str, float]:
    with ExitStack() as kept:
        ends = _connected(triple, flow, kept)
        sockets = [each.fileno() for pair in ends.values() for each in pair]
        arguments = [f"{title}:{a.fileno()}:{b.fileno()}" for title, (a, b) in ends.items()]
        stream = subprocess.Popen(
            [sys.executable, str(_STREAM), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=sockets,
        )
        assert stream.stdout is not None
        if stream.stdout.readline() != b"ready\n":
            raise OSError("not every flow came to flow")
        time.sleep(_BEFORE)
        node.recorder.reset()
        triple.router.do(lambda: asyncio.run(node.change(stricter)))
        began = node.recorder.began
        time.sleep(_AFTER)
        output, _ = stream.communicate()
        triple.router.do(lambda: asyncio.run(node.change(back)))
    last: dict[str, float] = json.loads(output)
    return {title: max(0.0, last[title] - began) * 1000 for title in NAMES}


def _connected(triple: Triple, flow: Flow, kept: ExitStack) -> dict[str, tuple[socket.socket, socket.socket]]:
    """(sender, receiver) by name; every UDP flow was opened by the pod and answered once."""
    target = (format_address(4, flow.destination), flow.port)
    listener = kept.enter_context(triple.server.do(lambda: socket.create_server(target)))
    found: dict[str, tuple[socket.socket, socket.socket]] = {}
    for title in NAMES:
        if title.startswith("TCP"):
            client = triple.client.do(lambda: socket.create_connection(target, timeout=5))
            server, _ = listener.accept()
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            client, server = _associated(triple, target, kept)
        kept.enter_context(client)
        kept.enter_context(server)
        found[title] = (client, server) if title.endswith("up") else (server, client)
    return found


def _associated(
    triple: Triple, target: tuple[str, int], kept: ExitStack
) -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets that know each other."""
    server = kept.enter_context(triple.server.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(target)
    server.settimeout(5)
    client = triple.client.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.connect(target)
    client.send(b"hello")
    _, source = server.recvfrom(64)
    server.connect(source)
    return client, server
