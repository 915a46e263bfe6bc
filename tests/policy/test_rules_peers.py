"""Rules 13-22: whom a rule's peers mean. Each test names its rule."""

from __future__ import annotations

import pytest

from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.ask import allowed, flow, verdict
from stockade.testing.build import namespace, node, pod, policy

A = {"matchLabels": {"app": "a"}}
TEAM = {"matchLabels": {"team": "t"}}
EXTERNAL = "192.0.2.1"


@pytest.fixture
def pods():
    return [
        node("n1", "172.30.0.1"),
        node("n2", "172.30.0.2"),
        namespace("x", {"team": "t"}),
        namespace("y", {"team": "t"}),
        namespace("z"),
        pod("x/server", {"app": "server"}, "10.244.0.1", "fd00::1", on="n1"),
        pod("x/a", {"app": "a"}, "10.244.0.2", "fd00::2", on="n1"),
        pod("y/a", {"app": "a"}, "10.244.0.3", "fd00::3", on="n1"),
        pod("y/b", {"app": "b"}, "10.244.0.4", "fd00::4", on="n1"),
        pod("z/a", {"app": "a"}, "10.244.0.5", "fd00::5", on="n1"),
    ]


def let_in(*peers: dict, name: str = "x/p"):
    return policy(
        name, {"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [{"from": list(peers)}]}
    )


def sources(world: list, *candidates: str) -> set[str]:
    everyone = candidates or ("x/a", "y/a", "y/b", "z/a", EXTERNAL, "172.30.0.2")
    return {source for source in everyone if allowed(world, source, "x/server")}


def test_rule_13_pod_selector_alone_means_the_policys_namespace(pods):
    assert sources([*pods, let_in({"podSelector": A})]) == {"x/a"}
    assert sources([*pods, let_in({"podSelector": {}})]) == {"x/a"}


def test_rule_14_namespace_selector_alone_means_all_their_pods_own_namespace_too(pods):
    assert sources([*pods, let_in({"namespaceSelector": TEAM})]) == {"x/a", "y/a", "y/b"}


def test_rule_15_in_one_item_and_in_two_items_or(pods):
    one = let_in({"namespaceSelector": TEAM, "podSelector": A})
    two = let_in({"namespaceSelector": TEAM}, {"podSelector": A})
    assert sources([*pods, one]) == {"x/a", "y/a"}
    assert sources([*pods, two]) == {"x/a", "y/a", "y/b"}
    everywhere = let_in({"namespaceSelector": {}, "podSelector": A})
    assert sources([*pods, everywhere]) == {"x/a", "y/a", "z/a"}


def test_rule_16_all_namespaces_are_all_pods_and_nobody_else(pods):
    assert sources([*pods, let_in({"namespaceSelector": {}})]) == {"x/a", "y/a", "y/b", "z/a"}
    assert sources([*pods, let_in()]) == {"x/a", "y/a", "y/b", "z/a", EXTERNAL, "172.30.0.2"}


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"kubernetes.io/metadata.name": "z"}},
        {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["z"]}]},
    ],
)
def test_rule_17_every_namespace_carries_its_name(pods, selector):
    assert sources([*pods, let_in({"namespaceSelector": selector})]) == {"z/a"}


def test_rule_17_so_does_a_namespace_that_is_only_implied(pods):
    world = [*pods, pod("implied/a", {}, "10.244.0.9")]
    by_name = {"matchLabels": {"kubernetes.io/metadata.name": "implied"}}
    assert sources([*world, let_in({"namespaceSelector": by_name})], "implied/a", "z/a") == {"implied/a"}


def test_rule_18_a_selector_means_pods_by_name_or_by_their_address(pods):
    world = [*pods, let_in({"podSelector": A})]
    assert sources(world, "10.244.0.2", "fd00::2", "10.244.0.3", "10.96.0.1") == {"10.244.0.2", "fd00::2"}


def test_rule_19_a_block_matches_pod_addresses_too(pods):
    world = [*pods, let_in({"ipBlock": {"cidr": "10.244.0.2/31"}})]
    assert sources(world) == {"x/a", "y/a"}


def test_rule_19_host_bits_are_masked_off(pods):
    assert sources([*pods, let_in({"ipBlock": {"cidr": "192.0.2.77/24"}})]) == {EXTERNAL}


def test_rule_20_an_except_limits_its_own_item_only(pods):
    hole = {"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.2/32", "10.244.0.4/31"]}}
    assert sources([*pods, let_in(hole)]) == {"y/a"}
    assert sources([*pods, let_in(hole, {"podSelector": A})]) == {"x/a", "y/a"}
    other_policy = let_in({"ipBlock": {"cidr": "10.244.0.4/32"}}, name="x/q")
    assert sources([*pods, let_in(hole), other_policy]) == {"y/a", "y/b"}


def test_rule_20_the_proof_names_the_except(pods):
    world = [*pods, let_in({"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.2/32"]}})]
    (miss,) = verdict(world, "x/a", "x/server").ingress.misses
    assert miss.part == "except"
    assert miss.detail == "10.244.0.2 is in an excepted part of 10.244.0.0/24 except 10.244.0.2/32"


def test_rule_21_families_do_not_mix(pods):
    four = [*pods, let_in({"ipBlock": {"cidr": "0.0.0.0/0"}})]
    six = [*pods, let_in({"ipBlock": {"cidr": "::/0"}})]
    assert allowed(four, "x/a", "x/server", family=4)
    assert not allowed(four, "x/a", "x/server", family=6)
    assert not allowed(six, "x/a", "x/server", family=4)
    assert allowed(six, "x/a", "x/server", family=6)
    assert not allowed(four, "2001:db8::1", "x/server")
    assert verdict(four, "2001:db8::1", "x/server").ingress.misses[0].part == "family"


def test_rule_22_everywhere_by_block_includes_pods_and_everywhere_by_namespace_excludes_hosts(pods):
    assert sources([*pods, let_in({"ipBlock": {"cidr": "0.0.0.0/0"}})]) >= {
        "x/a",
        "z/a",
        EXTERNAL,
        "172.30.0.2",
    }
    assert EXTERNAL not in sources([*pods, let_in({"namespaceSelector": {}})])


def test_misses_come_nearest_first_and_say_what_differs(pods):
    rules = [
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "none"}}, "podSelector": A}]},
        {"from": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 443}]},
        {"ports": [{"port": 80, "protocol": "UDP"}]},
        {"ports": [{"port": 443}]},
        {"from": [{"podSelector": {"matchLabels": {"app": "db"}}}]},
    ]
    misses = verdict([*pods, policy("x/p", {"ingress": rules})], "x/a", "x/server").ingress.misses
    assert [(miss.rule.index, miss.part) for miss in misses] == [
        (2, "protocol"),
        (4, "labels"),
        (0, "namespace"),
        (3, "port"),
        (1, "labels"),
    ]
    assert misses[0].detail == "TCP 80 is not among its ports (UDP 80): the number is, the protocol is not"
    assert misses[1].detail == "pod x/a has app=a, the rule wants pods app=db in namespace x"
    assert misses[2].detail == "pod x/a is in namespace x, the rule wants pods app=a in namespaces team=none"
    assert misses[3].detail == "TCP 80 is not among its ports (TCP 443)"


@pytest.mark.parametrize("cidr", ["10.244.0.0/16", "0.0.0.0/0"])
def test_rule_19_the_other_reading_leaves_pods_out_of_every_block(pods, cidr):
    rule = policy(
        "x/p",
        {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]},
    )
    state = ClusterState.of([*pods, rule])
    compiled = compile_state(state, blocks_match_pods=False)
    for destination, expected in (("y/b", False), ("10.244.0.4", False), ("10.244.9.9", True)):
        asked = flow("x/a", destination)
        verdict = evaluate(compiled, asked)
        assert verdict.allowed is expected
        who = asked.destination.ref if isinstance(asked.destination, PodEndpoint) else destination
        question = asked.source.ref, who, "TCP", 80, 4
        assert reference.allowed(state, *question, blocks_match_pods=False) is expected
        assert evaluate(compile_state(state), asked).allowed
    assert "outside the pods" in evaluate(compiled, flow("x/a", "y/b")).egress.misses[0].detail
