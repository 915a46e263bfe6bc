"""Real packets through real rules: what the data plane promises, between pods that are network namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
import time
from typing import Self

import pytest

from stockade.dataplane.droplog import DropLog, DropLogError, DropRecord
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.net.cidr import parse_address, parse_block
from stockade.testing.cluster import compile_text

pytestmark = pytest.mark.kernel

CLIENT, WEB, OTHER = "10.244.0.5", "10.244.0.6", "10.244.0.7"
CLIENT6, WEB6 = "fd44::5", "fd44::6"
NODE_IP = "172.30.0.1"
NODE = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd44::/64")), (parse_address(NODE_IP),))

_POD = """
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec: {{nodeName: node-1}}
status: {{phase: Running, podIPs: [{ips}]}}
---
"""
PODS = {
    "client": _POD.format(name="client", ips=f"{{ip: {CLIENT}}}, {{ip: '{CLIENT6}'}}"),
    "web": _POD.format(name="web", ips=f"{{ip: {WEB}}}, {{ip: '{WEB6}'}}"),
    "other": _POD.format(name="other", ips=f"{{ip: {OTHER}}}"),
}
DENY_EGRESS = """
kind: NetworkPolicy
metadata: {name: client-deny-egress, namespace: default}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}
---
"""
DENY_INGRESS = """
kind: NetworkPolicy
metadata: {name: web-deny-ingress, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}}
---
"""
WEB_80_ONLY = """
kind: NetworkPolicy
metadata: {name: client-web, namespace: default}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}, {port: 80, protocol: UDP}]}]
---
"""
WEB_FROM_CLIENT = """
kind: NetworkPolicy
metadata: {name: web-from-client, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}, {port: 80, protocol: UDP}]}]
---
"""


def ruleset(*policies: str, pods: str = "client web other") -> Ruleset:
    return lower(compile_text("".join([*(PODS[p] for p in pods.split()), *policies])), NODE)


@pytest.fixture
def pods(network):
    network.add_pod("client", CLIENT, CLIENT6)
    network.add_pod("web", WEB, WEB6)
    network.add_pod("other", OTHER)
    return network


def connects(network, source: str, address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = network.open(source, socket.SOCK_STREAM, family)
    try:
        made.connect((address, port))
    except TimeoutError:
        return False
    return True


class Udp:
    """A client and a server socket that know each other after the first packet that arrived."""

    def __init__(self, network, source: str, target: str, address: str, port: int) -> None:
        self.server = network.listen(target, port, socket.SOCK_DGRAM)
        self.client = network.open(source, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.client.connect((address, port))
        self.peer: object = None

    def up(self) -> bool:
        self.client.send(b"up")
        with contextlib.suppress(TimeoutError):
            data, self.peer = self.server.recvfrom(64)
            return data == b"up"
        return False

    def down(self) -> bool:
        self.server.sendto(b"down", self.peer)
        with contextlib.suppress(TimeoutError):
            return self.client.recv(64) == b"down"
        return False


def talks(sender: socket.socket, receiver: socket.socket) -> bool:
    """One TCP segment arrives, now."""
    sender.send(b"x")
    with contextlib.suppress(TimeoutError):
        return receiver.recv(1) == b"x"
    return False


async def test_allowed_and_denied_in_both_families(pods) -> None:
    plane = Dataplane(Nft())
    for port in (80, 81):
        pods.listen("web", port)
    pods.listen("other", 80)
    await plane.apply(ruleset())
    assert connects(pods, "client", WEB, 81)
    await plane.apply(ruleset(WEB_80_ONLY))
    assert connects(pods, "client", WEB, 80)
    assert connects(pods, "client", WEB6, 80)
    assert not connects(pods, "client", WEB, 81)
    assert not connects(pods, "client", WEB6, 81)
    assert not connects(pods, "client", OTHER, 80)
    assert connects(pods, "other", WEB, 81)  # not isolated
    assert Udp(pods, "client", "web", WEB, 80).up()
    assert not Udp(pods, "client", "web", WEB, 82).up()


async def test_an_egress_isolated_pod_still_answers(pods) -> None:
    pods.listen("client", 80)
    await Dataplane(Nft()).apply(ruleset(DENY_EGRESS))
    assert connects(pods, "other", CLIENT, 80)
    udp = Udp(pods, "other", "client", CLIENT, 53)
    assert udp.up()
    assert udp.down()


async def test_node_reaches_isolated_pods_and_pods_are_policed_towards_the_node(pods) -> None:
    pods.listen("web", 80)
    pods.listen("node", 10250)
    plane = Dataplane(Nft())
    await plane.apply(ruleset(DENY_INGRESS, DENY_EGRESS))
    assert connects(pods, "node", WEB, 80)
    assert not connects(pods, "other", WEB, 80)
    assert not connects(pods, "client", NODE_IP, 10250)
    assert connects(pods, "other", NODE_IP, 10250)


async def test_fence_holds_whatever_is_not_programmed(pods) -> None:
    plane = Dataplane(Nft())
    for where in ("client", "web", "node"):
        pods.listen(where, 80)
    await plane.apply(ruleset(pods="web other"))
    assert not connects(pods, "client", WEB, 80)
    assert not connects(pods, "client", NODE_IP, 80)
    assert not connects(pods, "other", CLIENT, 80)
    assert not connects(pods, "node", CLIENT, 80)  # its answer does not come in
    assert not connects(pods, "client", WEB6, 80)
    done = await plane.apply(ruleset())
    assert not done.bumped
    assert connects(pods, "client", WEB, 80)
    assert connects(pods, "client", WEB6, 80)
    assert connects(pods, "node", CLIENT, 80)


async def test_by_pod_interfaces_nobody_borrows_an_address(pods) -> None:
    """IPv6, for which the kernel has no rp_filter: another pod's address, a stranger's, and a link-local one."""
    state = compile_text("".join(PODS.values()), DENY_EGRESS)
    plane = Dataplane(Nft())
    spoof = pods.open("client", socket.SOCK_DGRAM, socket.AF_INET6)
    spoof.setsockopt(socket.IPPROTO_IPV6, 75, 1)  # IPV6_TRANSPARENT
    spoof.bind(("fd44::77", 0))
    server, node = pods.listen("web", 53, socket.SOCK_DGRAM), pods.listen("node", 53, socket.SOCK_DGRAM)
    scope = _index_of(pods, "client", "eth0")
    near = pods.open("client", socket.SOCK_DGRAM, socket.AF_INET6)

    def arrives(sender: socket.socket, address: tuple[object, ...], receiver: socket.socket) -> bool:
        sender.sendto(b"?", address)
        with contextlib.suppress(TimeoutError):
            return receiver.recv(8) == b"?"
        return False

    await plane.apply(lower(state, NodeView("node-1")))
    assert arrives(spoof, (WEB6, 53, 0, 0), server), "without the option the address is believed"
    assert arrives(near, ("fe80::1", 53, 0, scope), node)
    await plane.apply(lower(state, NodeView("node-1"), Options(pod_interfaces=("v*",))))
    assert not arrives(spoof, (WEB6, 53, 0, 0), server)
    assert not arrives(near, ("fe80::1", 53, 0, scope), node)
    borrowed = pods.open("client", socket.SOCK_DGRAM, socket.AF_INET6)
    borrowed.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    borrowed.bind((WEB6, 0))  # web is programmed and free
    assert not arrives(borrowed, ("fe80::1", 53, 0, scope), node)
    pods.listen("web", 80)
    assert connects(pods, "other", WEB, 80)
    assert connects(pods, "node", WEB6, 80)


def _index_of(network, pod: str, link: str) -> int:
    done = subprocess.run(
        ["ip", "-n", f"{network.id}-{pod}", "-o", "link", "show", link],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split(":")[0])


async def test_a_removed_pod_is_cut_off_at_once(pods) -> None:
    plane = Dataplane(Nft())
    await plane.apply(ruleset())
    udp = Udp(pods, "client", "web", WEB, 53)
    assert udp.up()
    assert udp.down()
    await plane.apply(ruleset(pods="web other"))
    assert not udp.up()
    assert not udp.down()


async def test_stricter_policy_cuts_live_flows_and_no_other(pods) -> None:
    plane = Dataplane(Nft())
    listener = pods.listen("web", 80)
    survivor = pods.listen("other", 80)
    await plane.apply(ruleset())
    client = pods.open("client", socket.SOCK_STREAM)
    client.connect((WEB, 80))
    web, _ = listener.accept()
    kept = pods.open("web", socket.SOCK_STREAM)
    kept.connect((OTHER, 80))
    other, _ = survivor.accept()
    web.settimeout(0.25)
    other.settimeout(0.25)
    up, down = Udp(pods, "client", "web", WEB, 53), Udp(pods, "client", "web", WEB, 54)
    assert all((talks(client, web), talks(web, client), talks(kept, other), talks(other, kept)))
    assert all((up.up(), down.up(), down.down()))
    done = await plane.apply(ruleset(DENY_EGRESS))
    assert done.bumped
    assert not done.full
    assert not up.up()
    assert not down.down()
    assert not talks(web, client)
    assert not talks(client, web)
    assert talks(kept, other)
    assert talks(other, kept)
    client.close()
    web.close()
    other.close()


async def test_allowed_flows_pass_every_rule_again_whichever_side_speaks_first(pods) -> None:
    """After a new generation the first packet may be a reply: the mirrored rules must let it through."""
    listener = pods.listen("web", 80)
    await Dataplane(Nft()).apply(ruleset(WEB_80_ONLY, DENY_INGRESS, WEB_FROM_CLIENT))
    client = pods.open("client", socket.SOCK_STREAM)
    client.connect((WEB, 80))
    web, _ = listener.accept()
    web.settimeout(0.25)
    udp = Udp(pods, "client", "web", WEB6, 80)
    assert udp.up()
    assert udp.down()
    for _ in range(2):
        done = await Dataplane(Nft()).apply(ruleset(WEB_80_ONLY, DENY_INGRESS, WEB_FROM_CLIENT))
        assert done.bumped
        assert udp.down()
        assert udp.up()
        assert talks(web, client)
        assert talks(client, web)
    web.close()


class Flood:
    """Packets of an allowed and of a denied flow as fast as they go, from threads, while the rules change."""

    def __init__(self, network) -> None:
        self._flows = [Udp(network, "client", "web", WEB, port) for port in (80, 81)]
        self._over = threading.Event()
        self.sent = 0
        self.received = [0, 0]

    def __enter__(self) -> Self:
        for flow in self._flows:
            flow.server.settimeout(0.05)
            flow.server.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        self._threads = [threading.Thread(target=self._send)]
        self._threads += [threading.Thread(target=self._receive, args=(at,)) for at in (0, 1)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        allowed, denied = (flow.client for flow in self._flows)
        while not self._over.is_set():
            for _ in range(10):
                denied.send(b"d")
            allowed.send(b"a")
            self.sent += 1

    def _receive(self, at: int) -> None:
        server = self._flows[at].server
        while True:
            try:
                server.recv(8)
            except TimeoutError:
                if self._over.is_set():
                    return
            else:
                self.received[at] += 1


async def test_new_agents_adopt_without_loss_or_leak(pods) -> None:
    await Dataplane(Nft()).apply(ruleset(WEB_80_ONLY))
    with Flood(pods) as flood:
        for _ in range(30):
            assert not (await Dataplane(Nft()).apply(ruleset(WEB_80_ONLY))).full
    assert flood.sent > 100
    assert flood.received == [flood.sent, 0]


async def test_another_profile_takes_over_without_loss_or_leak(pods) -> None:
    other = WEB_80_ONLY.replace("client-web", "client-more").replace("port: 80}", "port: 82}")
    plane = Dataplane(Nft())
    await plane.apply(ruleset(WEB_80_ONLY))
    with Flood(pods) as flood:
        for number in range(40):
            await plane.apply(ruleset(WEB_80_ONLY, *([other] if number % 2 == 0 else [])))
    assert flood.sent > 100
    assert flood.received == [flood.sent, 0]


async def _next(log: DropLog) -> DropRecord:
    async with asyncio.timeout(2):
        return await anext(log)


async def test_drop_log_names_direction_profile_and_ends(pods) -> None:
    wanted = ruleset(DENY_EGRESS, DENY_INGRESS)
    await Dataplane(Nft()).apply(wanted)
    compiled = compile_text("".join(PODS.values()), DENY_EGRESS, DENY_INGRESS)
    by_name = {entry.ref.name: entry for entry in compiled.pods}
    async with DropLog(5) as log:
        Udp(pods, "client", "web", WEB, 53).up()
        record = await _next(log)
        assert (record.direction, record.chain) == ("Egress", "e")
        assert record.profile == by_name["client"].egress.id
        assert (record.family, record.source) == parse_address(CLIENT)
        assert (record.family, record.destination) == parse_address(WEB)
        assert (record.protocol, record.dport) == ("UDP", 53)
        assert abs(record.time - time.time()) < 5
        connects(pods, "other", WEB, 443)
        record = await _next(log)
        assert (record.direction, record.protocol, record.dport) == ("Ingress", "TCP", 443)
        assert record.profile == by_name["web"].ingress.id
        with pytest.raises(DropLogError, match="another program reads"):
            DropLog(5).open()


async def test_drop_log_turns_replies_round(pods) -> None:
    plane = Dataplane(Nft())
    await plane.apply(ruleset())
    udp = Udp(pods, "client", "web", WEB, 53)
    assert udp.up()
    await plane.apply(ruleset(DENY_EGRESS))
    async with DropLog(5) as log:
        udp.down()
        record = await _next(log)
    assert record.chain == "re"
    assert record.is_reply
    assert (record.family, record.source) == parse_address(CLIENT)
    assert record.dport == 53


async def test_drop_log_shows_the_fence(pods) -> None:
    await Dataplane(Nft()).apply(ruleset(pods="web"))
    async with DropLog(5) as log:
        Udp(pods, "client", "web", WEB, 53).up()
        record = await _next(log)
    assert (record.chain, record.direction, record.profile) == ("fence", "", "")
