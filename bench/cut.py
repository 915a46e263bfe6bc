"""How soon live flows stop when a policy becomes stricter, as ``reference/dataplane.md`` 3 measured it.

In: sizes and runs. Out: a Cut for each of four flows: TCP and UDP, data from the pod (up) and to it (down). Called by ``dataplane``.

``stream`` sends one packet a millisecond on each flow. The policy of a pod then loses all its rules; what counts is the time from the start of the
transaction (the rules are computed) to the last byte that a receiver was given.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from cluster import SPACE, Flow, Size, World, flows, node_view, policy, state, world
from results import Cut, name
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.net.cidr import format_address
from stockade.policy.compile import compile_state
from stockade.store.delta import Upsert, apply
from stockade.store.state import POLICIES, ClusterState
from triples import LINK, Namespace, Triple

NAMES = ("TCP up", "TCP down", "UDP up", "UDP down")
_BEFORE, _AFTER = 0.05, 0.4  # seconds of streaming around the change
_STREAM = Path(__file__).with_name("stream.py")
T = TypeVar("T")


def cuts(sizes: Iterable[Size], runs: int) -> Iterator[Cut]:
    for size in sizes:
        print(f"cutting flows at {name(size)}", file=sys.stderr, flush=True)
        found = _of_size(size, runs)
        yield from (Cut(size, flow, tuple(taken[flow] for taken in found)) for flow in NAMES)


def _of_size(size: Size, runs: int) -> list[dict[str, float]]:
    made = world(size)
    flow = flows(made, 1)[0]
    open_, shut = _states(made, flow)
    rules = lower(compile_state(open_), node_view())
    stricter = lower(compile_state(shut), node_view())
    triple = Triple()
    try:
        _address(triple, flow)
        plane = Dataplane(Nft())
        return [_once(triple, flow, plane, rules, stricter) for _ in range(runs)]
    finally:
        triple.close()


def _states(made: World, flow: Flow) -> tuple[ClusterState, ClusterState]:
    """With every policy, and with none of the rules of the policies of the flow's pod."""
    before = state(made)
    numbers = made.policies_of[made.pods.index(flow.source)]
    emptied = (policy(f"policy-{n}", made.policies[n].group, ()) for n in numbers)
    return before, apply(before, [Upsert(POLICIES, each) for each in emptied])


def _address(triple: Triple, flow: Flow) -> None:
    """Client and server get the addresses of the flow, so that sockets can talk."""
    ends = ((triple.client, flow.source, "172.30.1.1"), (triple.server, flow.destination, "172.30.2.1"))
    for namespace, address, gateway in ends:
        namespace.run("ip", "addr", "add", f"{format_address(4, address)}/32", "dev", LINK)
        namespace.run("ip", "route", "add", "default", "via", gateway, "dev", LINK, "onlink")


def _once(
    triple: Triple, flow: Flow, plane: Dataplane, rules: Ruleset, stricter: Ruleset
) -> dict[str, float]:
    _apply(triple.router, plane, rules)
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
        started = _apply(triple.router, plane, stricter)
        time.sleep(_AFTER)
        output, _ = stream.communicate()
    last: dict[str, float] = json.loads(output)
    return {title: max(0.0, last[title] - started) * 1000 for title in NAMES}


def _apply(router: Namespace, plane: Dataplane, rules: Ruleset) -> float:
    """When it began, on the monotonic clock."""
    started = time.monotonic()
    router.do(lambda: asyncio.run(plane.apply(rules)))
    return started


def _connected(
    triple: Triple, flow: Flow, kept: ExitStack
) -> dict[str, tuple[socket.socket, socket.socket]]:
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
