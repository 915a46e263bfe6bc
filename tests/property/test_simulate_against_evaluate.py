"""The rules say what the engine says: random worlds, each flow judged by ``evaluate`` and walked through the lowered rules of
every node on its way, first packet and answer alike; and a change that is not called stricter denies nothing new."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.dataplane import chains, fold
from stockade.dataplane.ir import PROTOCOLS, Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.names import log_prefix
from stockade.dataplane.simulate import Packet, simulate
from stockade.dataplane.strictness import is_stricter
from stockade.net.cidr import Address, Block
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies, PodEntry
from stockade.policy.ends import end_of
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, Endpoint, Flow
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.strategies import flows, scenarios, worlds

CHECKED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def view(compiled: CompiledPolicies, name: str) -> NodeView:
    """Fenced are exactly the addresses of this node's pods: the other node's stand in the same block here."""
    local = [
        Block(family, value, value)
        for entry in compiled.pods
        if entry.pod.spec.node_name == name and not entry.pod.on_host_network
        for family, value in entry.addresses
    ]
    return NodeView(name, tuple(local), compiled.node_addresses.get(name, ()))


class Cluster:
    def __init__(self, state: ClusterState) -> None:
        self.compiled = compile_state(state)
        self.views = {name: view(self.compiled, name) for name in ("node-1", "node-2")}
        self.rules: dict[str, Ruleset] = {name: lower(self.compiled, v) for name, v in self.views.items()}

    def address(self, end: Endpoint, family: int) -> int | None:
        found = end_of(self.compiled, end)
        return None if found.is_loopback else found.address(family)

    def owner(self, family: int, value: int) -> PodEntry | None:
        index = self.compiled.by_address.get((family, value))
        return None if index is None else self.compiled.pods[index]

    def nodes_on_the_way(self, packet: Packet) -> list[str]:
        ends = (packet.source, packet.destination)
        pods = [self.owner(packet.family, value) for value in ends]
        names = {entry.pod.spec.node_name for entry in pods if entry}
        names |= {
            name for name, v in self.views.items() for value in ends if (packet.family, value) in v.addresses
        }
        return sorted(names)

    def outcomes(self, packet: Packet) -> list[tuple[bool, str]]:
        result = []
        for name in self.nodes_on_the_way(packet):
            own: frozenset[Address] = frozenset(self.views[name].addresses)
            hook = "forward"
            if (packet.family, packet.source) in own:
                hook = "output"
            elif (packet.family, packet.destination) in own:
                hook = "input"
            outcome = simulate(self.rules[name], packet, hook, own)
            result.append((outcome.accepted, outcome.prefix))
        return result


def packet_of(cluster: Cluster, flow: Flow) -> Packet | None:
    source = cluster.address(flow.source, flow.family)
    destination = cluster.address(flow.destination, flow.family)
    if source is None or destination is None:
        return None
    if flow.protocol == ICMP:
        kind = 8 if flow.family == 4 else 128
        protocol = PROTOCOLS["ICMP" if flow.family == 4 else "ICMPv6"]
        return Packet(
            family=flow.family, source=source, destination=destination, protocol=protocol, icmp_type=kind
        )
    return Packet(
        family=flow.family,
        source=source,
        destination=destination,
        protocol=PROTOCOLS[flow.protocol],
        sport=53,  # an allowed port as the source must open nothing
        dport=flow.port or 0,
    )


@CHECKED
@given(scenarios())
def test_rules_agree_with_the_engine(scenario: tuple[ClusterState, list[Flow]]) -> None:
    state, asked = scenario
    cluster = Cluster(state)
    for flow in asked:
        packet = packet_of(cluster, flow)
        if packet is None:
            continue
        verdict = evaluate(cluster.compiled, flow)
        outcomes = cluster.outcomes(packet)
        assert all(accepted for accepted, _ in outcomes) == verdict.allowed, (flow, outcomes)
        if not verdict.egress.allowed:
            entry = cluster.owner(packet.family, packet.source)
            assert entry is not None
            assert entry.egress is not None
            assert (False, log_prefix("e", entry.egress.id)) in outcomes
        node_answers = any((packet.family, packet.destination) in v.addresses for v in cluster.views.values())
        if not node_answers:  # what a node sends its own pods is never policed
            back = cluster.outcomes(packet.answer())
            assert all(accepted for accepted, _ in back) == verdict.allowed, (flow, back)


def works(cluster: Cluster, flow: Flow) -> bool:
    packet = packet_of(cluster, flow)
    return packet is not None and all(accepted for accepted, _ in cluster.outcomes(packet))


@CHECKED
@given(st.data())
def test_a_change_not_called_stricter_denies_nothing_new(data: st.DataObject) -> None:
    old = data.draw(worlds())
    new = old
    if old.policies:
        gone = data.draw(st.sampled_from(sorted(old.policies)))
        new = old.replacing({POLICIES: {ref: each for ref, each in old.policies.items() if ref != gone}})
    asked = [data.draw(flows(new)) for _ in range(5)]
    before, after = Cluster(old), Cluster(new)
    for first, second in ((before, after), (after, before)):
        denied = any(works(first, flow) and not works(second, flow) for flow in asked)
        if denied:
            assert any(is_stricter(first.rules[name], second.rules[name]) for name in first.rules)


@CHECKED
@given(scenarios())
def test_folded_rules_agree_as_well(scenario: tuple[ClusterState, list[Flow]]) -> None:
    """Small worlds have small profiles: fold everything with more than one rule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "LIMIT", 1)
        patch.setattr(fold, "LIMIT", 1)
        test_rules_agree_with_the_engine.hypothesis.inner_test(scenario)
