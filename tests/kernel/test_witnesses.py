"""The third witness: random policies, loaded as differences into a real kernel, and a real packet for each question put to the engine."""

from __future__ import annotations

import asyncio
import select
import socket
import struct

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.model.meta import ObjectRef
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod
from stockade.testing.strategies import policies

pytestmark = pytest.mark.kernel

NODE_IP = "172.30.0.1"
OUTSIDE = "93.184.216.34"
PORTS = (53, 80, 443)
WEB = [{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
PODS = [
    pod("a/p1", {"app": "x"}, "10.244.0.1", "fd00:244::1", on="node-1", ports=WEB),
    pod("a/p2", {"app": "y", "tier": "x"}, "10.244.0.2", "fd00:244::2", on="node-1"),
    pod("b/p3", {"app": "x", "tier": "y"}, "10.244.0.3", "fd00:244::3", on="node-1", ports=WEB[:1]),
    pod("c/p4", {}, "10.244.0.4", "fd00:244::4", on="node-1"),
]
WORLD = [node("node-1", NODE_IP), *(namespace(name, {"app": name}) for name in "abc"), *PODS]
VIEW = NodeView(
    "node-1", (parse_block("10.244.0.0/24"), parse_block("fd00:244::/64")), (parse_address(NODE_IP),)
)
WAIT = 0.04  # seconds; on veths a packet arrives before sendto returns, or a scheduler's moment later


class Bench:
    """Pods with listeners on every port, an outside host, and questions asked with packets."""

    def __init__(self, network) -> None:
        self.network = network
        self.listeners: dict[tuple[str, int, int], socket.socket] = {}
        for each in PODS:
            network.add_pod(each.ref.name, *each.ips)
        network.add_pod("outside", OUTSIDE)
        for where in (*(each.ref.name for each in PODS), "outside", "node"):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for port in PORTS:
                    self.listeners[where, kind, port] = network.listen(where, port, kind)

    def passes(self, source: str, target: str, address: str, flow: Flow) -> bool:
        if flow.protocol == ICMP:
            return self._ping(source, address, flow.family)
        kind = socket.SOCK_STREAM if flow.protocol == "TCP" else socket.SOCK_DGRAM
        listener = self.listeners[target, kind, flow.port or 0]
        family = socket.AF_INET if flow.family == 4 else socket.AF_INET6
        with self.network.open(source, kind, family) as client:
            client.setblocking(False)
            if kind == socket.SOCK_DGRAM:
                client.sendto(b"?", (address, flow.port))
                arrived = _readable(listener)
                if arrived:
                    listener.recv(8)
                return arrived
            client.connect_ex((address, flow.port))
            if not _readable(listener):
                return False
            listener.accept()[0].close()
            return True

    def _ping(self, source: str, address: str, family: int) -> bool:
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        with self.network.open(source, socket.SOCK_RAW, kind, protocol) as client:
            client.connect((address, 0))
            request = struct.pack("!BBHHH", 8 if family == 4 else 128, 0, 0, id(client) & 0xFFFF, 1)
            client.send(_with_checksum(request) if family == 4 else request)
            while _readable(client):
                answer = client.recv(256)
                if (answer[20:] if family == 4 else answer)[0] in {0, 129}:
                    return True
        return False


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], WAIT)[0])


def _with_checksum(message: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, str, str, Flow]:
    """(source, target, its address, flow) among pods, the node and the outside host."""
    refs: dict[str, ObjectRef] = {each.ref.name: each.ref for each in PODS}
    ips = {each.ref.name: each.ips for each in PODS}
    source = draw(st.sampled_from([*refs, *refs, "outside", "node"]))
    others = [name for name in (*refs, *refs, "outside", "node") if name != source]
    target = draw(st.sampled_from([o for o in others if {source, o} != {"outside", "node"}]))
    both = source in refs and target in refs
    family = draw(st.sampled_from([4, 6])) if both else 4
    extern = {"outside": OUTSIDE, "node": NODE_IP}

    def end(name: str) -> Endpoint:
        if name in refs:
            return PodEndpoint(refs[name])
        return AddressEndpoint(*parse_address(extern[name]), extern[name])

    protocol = draw(st.sampled_from(["TCP", "UDP", ICMP]))
    port = None if protocol == ICMP else draw(st.sampled_from(PORTS))
    address = ips[target][family == 6] if target in refs else extern[target]
    return source, target, address, Flow(end(source), end(target), protocol, port, family)


@pytest.fixture
def bench(network) -> Bench:
    return Bench(network)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking would take its time in packets
)
@given(data=st.data())
def _ask(bench: Bench, plane: Dataplane, tally: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    drawn = [data.draw(policies(f"np{number}", invalid=False)) for number in range(count)]
    compiled = compile_state(ClusterState.of([*WORLD, *drawn]))
    asyncio.run(plane.apply(lower(compiled, VIEW)))
    for source, target, address, flow in data.draw(st.lists(questions(), min_size=8, max_size=8)):
        allowed = evaluate(compiled, flow).allowed
        tally[allowed] += 1
        assert bench.passes(source, target, address, flow) == allowed, flow


def test_the_kernel_does_what_the_engine_says(bench: Bench) -> None:
    tally = [0, 0]
    _ask(bench, Dataplane(Nft()), tally)
    assert min(tally) > 10, f"one-sided questions prove little: {tally[0]} denied, {tally[1]} allowed"
