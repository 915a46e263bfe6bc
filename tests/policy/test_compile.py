"""The compiled form: names that stay, sharing, and cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.policy.compiled import BlockPeer, NamedPort, PortRange, SelectorPeer
from stockade.store.delta import Delete, Upsert, apply
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy
from stockade.testing.worlds import recipe

RULE = {
    "from": [
        {"podSelector": {"matchLabels": {"app": "b"}}, "namespaceSelector": {"matchLabels": {"t": "1"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    ],
    "ports": [{"port": 80, "endPort": 90}, {"port": "web", "protocol": "UDP"}, {"protocol": "SCTP"}],
}


def world(*more):
    objects = [node(), pod("a", {"app": "a"}, "10.244.0.1"), pod("a2", {"app": "a"}, "10.244.0.2"), *more]
    return ClusterState.of(
        [*objects, policy("p", {"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [RULE]})]
    )


def ingress_of(state, name="a"):
    compiled = compile_state(state)
    return compiled.pods[compiled.by_ref[ObjectRef("default", name)]].ingress


def test_a_rule_compiles_to_numbers():
    (rule,) = ingress_of(world()).rules
    selector, block = rule.peers
    assert isinstance(selector, SelectorPeer)
    assert selector.text == "pods app=b in namespaces t=1"
    assert isinstance(block, BlockPeer)
    assert list(block.ranges) == [(10 << 24, (10 << 24) + 0xFFFF), ((10 << 24) + 0x20000, (11 << 24) - 1)]
    assert rule.ports == (PortRange("TCP", 80, 90), NamedPort("UDP", "web"), PortRange("SCTP", 0, 65535))
    assert str(rule.ref) == "default/p ingress[0]"


def test_pods_with_the_same_policies_share_one_profile():
    compiled = compile_state(world())
    assert compiled.pods[0].ingress is compiled.pods[1].ingress
    assert compiled.pods[0].egress is None


def test_pods_that_come_and_go_rename_nothing():
    before = ingress_of(world())
    peers = [pod(f"other/b{i}", {"app": "b"}, f"10.244.1.{i}") for i in range(1, 9)]
    after = ingress_of(world(namespace("other", {"t": "1"}), *peers))
    assert before.id == after.id
    assert before.rules[0].peers[0].key == after.rules[0].peers[0].key
    assert before.rules[0].peers[0].pods != after.rules[0].peers[0].pods


def test_what_is_written_decides_the_name():
    state = world()
    one = ingress_of(state).id
    changed = policy("p", {"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{**RULE, "ports": []}]})
    other = policy("q", {"podSelector": {}, "ingress": []})
    assert ingress_of(apply(state, [Upsert("networkpolicies", changed)])).id != one
    both = apply(state, [Upsert("networkpolicies", other)])
    assert ingress_of(both).id != one
    assert ingress_of(apply(both, [Delete("networkpolicies", other.ref)])).id == one


def test_pod_selectors_of_two_namespaces_are_two_selections():
    peer = {"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}
    objects = [pod("x/a", {}, "10.0.0.1"), pod("y/a", {}, "10.0.0.2")]
    objects += [policy(f"{space}/p", {"ingress": [peer]}) for space in "xy"]
    keys = {entry.ingress.rules[0].peers[0].key for entry in compile_state(ClusterState.of(objects)).pods}
    assert len(keys) == 2


def test_names_are_equal_in_another_process():
    script = (
        "from stockade.testing.worlds import recipe; from stockade.policy.compile import compile_state;"
        "print(*[p.egress.id for p in compile_state(recipe('dns')).pods if p.egress])"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
    ).stdout
    assert out.split() == [each.egress.id for each in compile_state(recipe("dns")).pods if each.egress]


def test_host_network_pods_have_entries_without_profiles_and_finished_pods_have_none():
    state = world(
        pod("host", {"app": "a"}, "172.30.0.1", host_network=True),
        pod("done", {"app": "a"}, "10.244.0.9", phase="Succeeded"),
    )
    compiled = compile_state(state)
    assert [str(entry.ref) for entry in compiled.pods] == ["default/a", "default/a2", "default/host"]
    assert compiled.pods[2].ingress is None
    assert set(compiled.by_address.values()) == {0, 1}
    assert compiled.node_addresses == {"lab-node-1": ((4, 0xAC1E0001),)}


def test_a_thousand_pods_and_two_hundred_policies_take_well_under_a_second():
    pods = [
        pod(
            f"ns{i % 20}/p{i}",
            {"app": f"a{i % 30}", "tier": f"t{i % 4}", "id": str(i)},
            f"10.{i // 250}.0.{i % 250 + 1}",
        )
        for i in range(1000)
    ]
    policies = [
        policy(f"ns{i % 20}/q{i}", {"podSelector": {"matchLabels": {"tier": f"t{i % 4}"}}, "ingress": [RULE]})
        for i in range(200)
    ]
    state = ClusterState.of([*pods, *policies])
    started = time.perf_counter()
    compile_state(state)
    assert time.perf_counter() - started < 1.0  # measured: 0.02
