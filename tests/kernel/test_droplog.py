"""The drop log against the kernel: everything that is logged is counted, scans in few records, rules that reject like rules that drop."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
from collections import Counter

import pytest

from stockade.agent.kernel import Kernel
from stockade.agent.policy_counters import PolicyCounters
from stockade.dataplane.droplog import DropLog, DropRecord
from stockade.dataplane.droptally import PORTS_TOLD
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.net.cidr import parse_address, parse_block
from stockade.testing.cluster import compile_text

pytestmark = pytest.mark.kernel

CLIENT, WEB = "10.244.0.5", "10.244.0.6"
UNLIMITED = """
table inet unlimited {
  chain forward {
    type filter hook forward priority 0; policy accept;
    meta l4proto udp log group 5 prefix "stockade|i|0123456789ab" snaplen 96
    meta l4proto udp drop
  }
}
"""
PODS = "".join(
    f"""
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec: {{nodeName: node-1}}
status: {{phase: Running, podIPs: [{{ip: {ip}}}]}}
---
"""
    for name, ip in (("client", CLIENT), ("web", WEB))
)
DENY_EGRESS = """
kind: NetworkPolicy
metadata: {name: deny, namespace: default}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}
"""


ALLOW_80 = """
kind: NetworkPolicy
metadata: {name: two-ports, namespace: default}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{ports: [{port: 80}]}, {ports: [{port: 443}]}]
"""
NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),), (parse_address("172.30.0.1"),))


async def gathered(log: DropLog, expected: int) -> list[DropRecord]:
    """Records until so many packets are counted."""
    found: list[DropRecord] = []
    async with asyncio.timeout(20):
        while sum(record.count for record in found) < expected:
            found.append(await anext(log))
    return found


def nft(*arguments: str, text: str = "") -> str:
    """In the node's namespace, where the test runs."""
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, check=True)
    return done.stdout


def flood(network, source: str, ports: range, times: int) -> int:
    sender = network.open(source)
    for _ in range(times):
        for port in ports:
            sender.sendto(b"x", (WEB, port))
    return len(ports) * times


async def test_everything_that_is_logged_is_counted_and_a_scan_is_few_records(network) -> None:
    network.add_pod("web", WEB)
    network.add_pod("client", CLIENT)
    nft("-f", "-", text=UNLIMITED)
    async with DropLog(5, interval=0.02) as log:
        sent = await asyncio.to_thread(flood, network, "client", range(1000, 1300), 20)
        found = await gathered(log, sent)
        assert sum(record.count for record in found) == sent == 6000
        assert (log.lost, log.overruns) == (0, 0)
    single = {record.dport for record in found if record.ports == 1}
    assert single == set(range(1000, 1000 + PORTS_TOLD))
    assert max(record.ports for record in found) == 300 - PORTS_TOLD
    assert {(record.direction, record.profile) for record in found} == {("Ingress", "0123456789ab")}
    assert all(record.first <= record.time for record in found)


async def test_a_rule_that_rejects_logs_and_counts_each_packet_once(network) -> None:
    """What goes back to the sender is no denied packet."""
    network.add_pod("web", WEB)
    network.add_pod("client", CLIENT)
    wanted = lower(compile_text(PODS, DENY_EGRESS), NODE, Options(deny="reject"))
    await Dataplane(Nft()).apply(wanted)
    async with DropLog(5, interval=0.02) as log:
        for port in (80, 81, 82):
            tcp = network.open("client", socket.SOCK_STREAM)
            assert tcp.connect_ex((WEB, port)) == errno.ECONNREFUSED
        found = await gathered(log, 3)
    assert Counter(record.dport for record in found) == {80: 1, 81: 1, 82: 1}
    assert [record.count for record in found] == [1, 1, 1]
    values = await Kernel().read_counters()
    (profile,) = {record.profile for record in found}
    assert {name: packets for name, (packets, _) in values.items()} == {f"d_e_{profile}": 3, "d_fence": 0}


async def test_counters_of_the_kernel_are_those_of_the_policies_rules(network) -> None:
    network.add_pod("web", WEB)
    network.add_pod("client", CLIENT)
    compiled = compile_text(PODS, ALLOW_80)
    plane = Dataplane(Nft())
    await plane.apply(lower(compiled, NODE, Options()))
    profiles = {p.id: p for entry in compiled.pods for p in (entry.egress, entry.ingress) if p}
    counters = PolicyCounters(Kernel().read_counters, lambda: plane.applied, lambda: profiles)
    network.listen("web", 80)
    for port, answer in ((80, 0), (81, errno.EAGAIN), (80, 0)):
        assert network.open("client", socket.SOCK_STREAM).connect_ex((WEB, port)) == answer
    await counters.refresh()
    samples = {
        (sample.name, sample.labels.get("rule")): sample.value
        for family in counters.families()
        for sample in family.samples
    }
    assert samples["stockade_policy_allowed_connections_total", "0"] == 2
    assert samples["stockade_policy_allowed_connections_total", "1"] == 0
    assert samples["stockade_policy_denied_packets_total", None] == 1
