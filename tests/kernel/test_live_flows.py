"""``--live-flows keep``: what was accepted goes on under a policy that denies it, what is new does not, and nobody inherits anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from stockade.testing.agent_process import FOO, PODS, POLICIES, WEB, egress, pod, setting

pytestmark = pytest.mark.kernel

TCP_PORT, UDP_PORT, NEW_PORT = 8080, 5353, 5354
REUSED, FAR = "10.244.0.20", "10.244.9.9"


@pytest.fixture
async def world(network, tmp_path):
    async with setting(network, tmp_path) as made:
        yield made


class Flows:
    """A TCP connection and a UDP flow from foo to web, used in both directions."""

    def __init__(self, network, sender="foo", address=WEB):
        self.address = address
        self.listener = network.listen("web", TCP_PORT)
        self.udp_server = network.listen("web", UDP_PORT, socket.SOCK_DGRAM)
        self.tcp = network.open(sender, socket.SOCK_STREAM)
        self.udp = network.open(sender)
        self.tcp.connect((address, TCP_PORT))
        self.accepted, _ = self.listener.accept()
        for each in (self.udp_server, self.accepted):
            each.settimeout(0.25)

    def close(self):
        self.accepted.close()

    def alive(self):
        """(tcp, udp): does a byte go there and another one come back?"""
        return self._tcp(), self._udp()

    def _tcp(self):
        with contextlib.suppress(TimeoutError, OSError):
            self.tcp.sendall(b"t")
            if self.accepted.recv(8):
                self.accepted.sendall(b"r")
                return bool(self.tcp.recv(8))
        return False

    def _udp(self):
        with contextlib.suppress(TimeoutError, OSError):
            self.udp.sendto(b"u", (self.address, UDP_PORT))
            data, back = self.udp_server.recvfrom(8)
            self.udp_server.sendto(data, back)
            return bool(self.udp.recv(8))
        return False


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(contextlib.closing(Flows(*arguments)))


@pytest.mark.parametrize(("how", "outcome"), [("keep", (True, True)), ("cut", (False, False))])
async def test_a_stricter_policy_and_flows_that_live(world, opened, how, outcome):
    world.start("--live-flows", how)
    await world.programmed("foo", FOO)
    await world.programmed("web", WEB)
    flows = await asyncio.to_thread(opened, world.network)
    assert await asyncio.to_thread(flows.alive) == (True, True)
    world.api.put(POLICIES, egress("deny"))
    await world.until_status(lambda status: status.world["networkpolicies"] == 1)
    assert await asyncio.to_thread(flows.alive) == outcome
    fresh = world.network.open("foo")
    receiver = world.network.listen("web", NEW_PORT, socket.SOCK_DGRAM)
    receiver.settimeout(0.2)
    fresh.sendto(b"x", (WEB, NEW_PORT))
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(receiver.recv, 8)
    again = world.network.open("foo", socket.SOCK_STREAM)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(again.connect, (WEB, TCP_PORT))


@pytest.mark.parametrize("coalesced", [False, True])
@pytest.mark.parametrize("backend", ["netlink", "nft"])
async def test_the_next_pod_with_the_address_inherits_nothing(world, coalesced, backend):
    """Same address, same ports: only what the kernel remembers tells the new pod's packets from the old one's."""
    network = world.network
    network.add_pod("old", REUSED)
    world.start("--live-flows", "keep", "--backend", backend)
    world.api.put(PODS, pod("old", REUSED))
    await world.programmed("old", REUSED)
    receiver = network.listen("web", UDP_PORT, socket.SOCK_DGRAM)
    receiver.settimeout(0.25)
    sender = network.open("old")
    sender.bind((REUSED, 40000))
    sender.sendto(b"1", (WEB, UDP_PORT))
    assert await asyncio.to_thread(receiver.recv, 8) == b"1"
    deny = egress("deny-foo")
    deny["spec"]["podSelector"] = {}
    world.api.put(POLICIES, deny)
    await world.until_status(lambda status: status.world["networkpolicies"] == 1)
    sender.sendto(b"2", (WEB, UDP_PORT))  # kept
    assert await asyncio.to_thread(receiver.recv, 8) == b"2"
    world.api.drop(PODS, "old", "default")
    if not coalesced:
        await world.until_status(lambda status: status.world["pods"] == 2)
    world.api.put(PODS, pod("new", REUSED))
    await world.programmed("new", REUSED)
    sender.sendto(b"3", (WEB, UDP_PORT))  # the new pod's packet is the same to the byte
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(receiver.recv, 8)


async def test_the_far_end_of_a_kept_flow_is_not_inherited_either(world):
    """Foo may talk to what is labelled; the pod at that address ends, and the next one is not labelled."""
    network = world.network
    network.add_pod("far", FAR)
    far = pod("far", FAR)
    far["spec"]["nodeName"] = "node-2"
    world.api.put(PODS, far)
    to_far = egress("to-far")
    to_far["spec"]["egress"] = [{"to": [{"podSelector": {"matchLabels": {"app": "far"}}}]}]
    world.api.put(POLICIES, to_far)
    world.start("--live-flows", "keep")
    await world.programmed("foo", FOO)
    receiver = network.listen("far", UDP_PORT, socket.SOCK_DGRAM)
    receiver.settimeout(0.25)
    sender = network.open("foo")
    sender.sendto(b"1", (FAR, UDP_PORT))
    assert await asyncio.to_thread(receiver.recv, 8) == b"1"
    world.api.drop(PODS, "far", "default")
    other = pod("other", FAR)
    other["spec"]["nodeName"] = "node-2"
    world.api.put(PODS, other)
    await world.until_status(lambda status: status.world["pods"] == 3)
    await world.programmed("foo", FOO)
    await asyncio.sleep(0.1)
    sender.sendto(b"2", (FAR, UDP_PORT))
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(receiver.recv, 8)
