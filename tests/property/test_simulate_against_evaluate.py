"""The rules say what the engine says: random worlds, each flow judged by ``evaluate`` and walked through the lowered rules of
every node on its way, first packet and answer alike; and a change that is not called stricter denies nothing new."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.dataplane import chains, fold
from stockade.dataplane.lower import NodeView
from stockade.dataplane.names import log_prefix
from stockade.dataplane.strictness import is_stricter
from stockade.net.cidr import Block
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.simulated import SimulatedCluster
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


def cluster_of(state: ClusterState) -> SimulatedCluster:
    compiled = compile_state(state)
    return SimulatedCluster(compiled, {name: view(compiled, name) for name in ("node-1", "node-2")})


@CHECKED
@given(scenarios())
def test_rules_agree_with_the_engine(scenario: tuple[ClusterState, list[Flow]]) -> None:
    state, asked = scenario
    cluster = cluster_of(state)
    for flow in asked:
        packet = cluster.packet(flow)
        if packet is None:
            continue
        verdict = evaluate(cluster.compiled, flow)
        outcomes = cluster.outcomes(packet)
        assert all(each.accepted for each in outcomes) == verdict.allowed, (flow, outcomes)
        if not verdict.egress.allowed:
            entry = cluster.owner(packet.family, packet.source)
            assert entry is not None
            assert entry.egress is not None
            assert log_prefix("e", entry.egress.id) in {each.prefix for each in outcomes if not each.accepted}
        node_answers = any((packet.family, packet.destination) in v.addresses for v in cluster.views.values())
        if not node_answers:  # what a node sends its own pods is never policed
            back = cluster.outcomes(packet.answer())
            assert all(each.accepted for each in back) == verdict.allowed, (flow, back)


def works(cluster: SimulatedCluster, flow: Flow) -> bool:
    packet = cluster.packet(flow)
    return packet is not None and all(each.accepted for each in cluster.outcomes(packet))


@CHECKED
@given(st.data())
def test_a_change_not_called_stricter_denies_nothing_new(data: st.DataObject) -> None:
    old = data.draw(worlds())
    new = old
    if old.policies:
        gone = data.draw(st.sampled_from(sorted(old.policies)))
        new = old.replacing({POLICIES: {ref: each for ref, each in old.policies.items() if ref != gone}})
    asked = [data.draw(flows(new)) for _ in range(5)]
    before, after = cluster_of(old), cluster_of(new)
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
