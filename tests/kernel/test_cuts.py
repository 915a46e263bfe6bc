"""Live flows of all four kinds end when a policy turns against them: TCP and UDP, with data from the client and with data from the server.

The figure (milliseconds) is printed; it belongs to bench/. Here it is generously bounded, for machines that are busy.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Self

import pytest

from stockade.dataplane.programmer import Programmer
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.build import namespace, node, pod, policy
from stockade.testing.driven import DrivenNode, backend
from stockade.testing.fabric import Fabric, addresses
from stockade.testing.namespaces import Namespaces, inside
from stockade.testing.placing import views
from stockade.testing.spoiled import Spoiled
from stockade.testing.strategies import NODES

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

CLIENT, SERVER = 1, 3
FLOWS = ("tcp up", "tcp down", "udp up", "udp down")
BOUND = 2.0  # seconds
POD = partial(pod, on="node-1")
OPEN = ClusterState.of(
    [
        node("node-1", *NODES["node-1"]),
        namespace("default"),
        POD("client", {"app": "client"}, *addresses(CLIENT)),
        POD("server", {"app": "server"}, *addresses(SERVER)),
    ]
)
DENIALS = {
    "egress": {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]},
    "ingress": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]},
}


class Flows:
    """A byte each way and millisecond; ``last`` is when one arrived, by flow."""

    def __init__(self, fabric: Fabric, family: int) -> None:
        self.last = dict.fromkeys(FLOWS, 0.0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._ends = {
            name: _pair(fabric, family, port, socket.SOCK_STREAM if "tcp" in name else socket.SOCK_DGRAM)
            for port, name in enumerate(FLOWS, 5000)
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for pair in self._ends.values():
            for end in pair:
                end.close()

    def _run(self) -> None:
        while not self._over.is_set():
            for name, (client, server) in self._ends.items():
                sender, receiver = (client, server) if "up" in name else (server, client)
                _try(sender.send, b"x")
                if _try(receiver.recv, 65536):
                    self.last[name] = time.monotonic()
            time.sleep(0.001)


def _try(call, argument):
    try:
        return call(argument)
    except BlockingIOError:
        return None


def _pair(fabric: Fabric, family: int, port: int, kind: int) -> tuple[socket.socket, socket.socket]:
    """A connection that is known in both directions."""
    version = socket.AF_INET6 if family else socket.AF_INET
    with inside(fabric.full(f"p{SERVER}")):
        server = (
            socket.create_server((addresses(SERVER)[family], port), family=version)
            if (kind == socket.SOCK_STREAM)
            else socket.socket(version, kind)
        )
        if kind == socket.SOCK_DGRAM:
            server.bind((addresses(SERVER)[family], port))
    with inside(fabric.full(f"p{CLIENT}")):
        client = socket.socket(version, kind)
        client.connect((addresses(SERVER)[family], port))
    client.send(b"x")
    if kind == socket.SOCK_STREAM:
        accepted, _ = server.accept()
        server.close()
        server = accepted
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        server.connect(server.recvfrom(8)[1])
        server.send(b"x")
        client.recv(8)
    for each in (client, server):
        each.setblocking(False)
    return client, server


@pytest.fixture
def fabric(kernel: None) -> Iterator[Fabric]:
    with Namespaces() as spaces:
        made = Fabric(spaces)
        made.build()
        yield made


def cut(fabric: Fabric, programmer: Programmer, family: int, denial: str) -> dict[str, float]:
    """For each flow the seconds from the start of the change to its last byte."""
    driven = DrivenNode(fabric.full("node-1"), views()["node-1"], lambda: programmer, Random(0))
    driven.go_to(OPEN)
    denied = policy(denial, DENIALS[denial])
    with Flows(fabric, family) as flows:
        time.sleep(0.1)
        assert all(flows.last.values()), "not all flows live"
        began = time.monotonic()
        driven.go_to(OPEN.replacing({POLICIES: {denied.ref: denied}}))
        time.sleep(0.3)
        quiet = time.monotonic() - 0.1
        while max(flows.last.values()) > quiet and time.monotonic() < began + BOUND:
            time.sleep(0.05)
            quiet = time.monotonic() - 0.1
        return {name: last - began for name, last in flows.last.items()}


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("name", ["netlink", "nft"])
def test_live_flows_are_cut(fabric: Fabric, name: str, denial: str, family: int) -> None:
    with inside(fabric.full("node-1")):
        programmer = backend(name)
    found = cut(fabric, programmer, family, denial)
    print({flow: f"{seconds * 1000:.1f} ms" for flow, seconds in found.items()})  # noqa: T201 - the figure
    assert max(found.values()) < BOUND * 0.9


def test_without_a_new_generation_they_live_on(fabric: Fabric) -> None:
    with inside(fabric.full("node-1")):
        programmer = Spoiled(backend("nft"), "no-new-generation")
    found = cut(fabric, programmer, 0, "egress")
    assert min(found[name] for name in FLOWS) > BOUND * 0.9
