"""Rules 1-12: which policies apply to a pod, and how their rules add up. Each test names its rule."""

from __future__ import annotations

import pytest

from stockade.testing.ask import allowed, verdict
from stockade.testing.build import namespace, pod, policy

EVERYONE: dict = {}


@pytest.fixture
def pods():
    return [
        namespace("x"),
        namespace("y"),
        pod("x/a", {"app": "a"}, "10.244.0.1"),
        pod("x/b", {"app": "b"}, "10.244.0.2"),
        pod("y/a", {"app": "a"}, "10.244.0.3"),
        pod("x/bare", None, "10.244.0.4"),
    ]


def deny(direction: str, name: str = "x/deny", selector: dict | None = None):
    return policy(name, {"podSelector": selector or {}, "policyTypes": [direction]})


def test_rule_01_a_policy_selects_pods_of_its_own_namespace_only(pods):
    world = [*pods, deny("Ingress")]
    assert not allowed(world, "y/a", "x/a")
    assert allowed(world, "x/a", "y/a")


def test_rule_02_the_two_directions_isolate_independently(pods):
    ingress, egress = [*pods, deny("Ingress")], [*pods, deny("Egress")]
    assert not allowed(ingress, "y/a", "x/a")
    assert allowed(ingress, "x/a", "y/a")
    assert allowed(egress, "y/a", "x/a")
    assert not allowed(egress, "x/a", "y/a")


def test_rule_03_not_isolated_is_open(pods):
    decided = verdict(pods, "x/a", "y/a", "SCTP 9")
    assert decided.allowed
    assert decided.egress.isolated_by == decided.ingress.isolated_by == ()
    assert decided.egress.reason == "not isolated"


def test_rule_04_policies_add_up_whatever_their_order(pods):
    allow = policy("x/allow", {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]})
    for order in ([deny("Ingress"), allow], [allow, deny("Ingress", "x/zz-deny")]):
        world = [*pods, *order]
        assert allowed(world, "x/b", "x/a")
        assert not allowed(world, "y/a", "x/a")
    assert [str(ref) for ref in verdict(world, "x/b", "x/a").ingress.isolated_by] == ["x/allow", "x/zz-deny"]


def test_rule_05_both_ends_must_allow(pods):
    allow_out = policy("x/out", {"policyTypes": ["Egress"], "egress": [{}]})
    world = [*pods, allow_out, deny("Ingress", "y/deny")]
    decided = verdict(world, "x/a", "y/a")
    assert decided.egress.allowed
    assert not decided.ingress.allowed
    assert decided.denied_by is decided.ingress
    assert allowed(world, "x/a", "192.0.2.1")


def test_rule_06_answers_need_no_rule_so_a_pod_without_egress_still_serves(pods):
    world = [*pods, deny("Egress", selector={"matchLabels": {"app": "a"}})]
    assert allowed(world, "x/b", "x/a")
    assert not allowed(world, "x/a", "x/b")


def test_rule_07_an_empty_selector_chooses_pods_without_labels_too(pods):
    assert not allowed([*pods, deny("Ingress")], "y/a", "x/bare")


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": None}, {"matchLabels": {}}])
def test_rule_07_absent_null_and_empty_are_alike(pods, selector):
    world = [*pods, policy("x/deny", {"podSelector": selector, "policyTypes": ["Ingress"]})]
    assert not allowed(world, "y/a", "x/bare")
    assert not allowed(world, "y/a", "x/a")


@pytest.mark.parametrize(
    ("operator", "values", "chosen"),
    [
        ("NotIn", ["a"], True),
        ("DoesNotExist", None, True),
        ("In", ["a"], False),
        ("Exists", None, False),
    ],
)
def test_rule_07_a_pod_without_labels_and_expressions(pods, operator, values, chosen):
    selector = {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}
    assert allowed([*pods, deny("Ingress", selector=selector)], "y/a", "x/bare") is not chosen


def test_rule_08_labels_and_expressions_are_anded(pods):
    expression = {"key": "app", "operator": "NotIn", "values": ["a"]}
    both = {"matchLabels": {"app": "a"}, "matchExpressions": [expression]}
    world = [*pods, deny("Ingress", selector=both)]
    assert allowed(world, "y/a", "x/a")
    assert allowed(world, "y/a", "x/b")


def test_rule_08_an_empty_label_value_is_a_value(pods):
    world = [
        *pods,
        pod("x/empty", {"app": ""}, "10.244.0.9"),
        deny("Ingress", selector={"matchLabels": {"app": ""}}),
    ]
    assert not allowed(world, "y/a", "x/empty")
    assert allowed(world, "y/a", "x/bare")


def test_rule_09_a_pod_that_no_policy_selects_stays_open(pods):
    world = [*pods, deny("Ingress", selector={"matchLabels": {"app": "a"}})]
    assert not allowed(world, "y/a", "x/a")
    assert allowed(world, "y/a", "x/b")


@pytest.mark.parametrize("rules", [None, []])
def test_rule_10_no_rules_deny_everything(pods, rules):
    world = [*pods, policy("x/p", {"policyTypes": ["Ingress"], "ingress": rules})]
    assert not allowed(world, "y/a", "x/a")
    assert not allowed(world, "y/a", "x/a", "ICMP")
    assert not allowed(world, "192.0.2.1", "x/a")


@pytest.mark.parametrize("rule", [{}, {"from": [], "ports": []}, {"from": None}])
def test_rule_10_one_empty_rule_allows_everything(pods, rule):
    world = [*pods, policy("x/p", {"policyTypes": ["Ingress"], "ingress": [rule]})]
    for source in ("y/a", "192.0.2.1"):
        for port in ("TCP 80", "SCTP 9", "ICMP"):
            assert allowed(world, source, "x/a", port)


def test_rule_11_rules_of_a_direction_that_is_not_typed_are_inert(pods):
    world = [
        *pods,
        policy("x/p", {"policyTypes": ["Ingress"], "ingress": [{}], "egress": [{"ports": [{"port": 1}]}]}),
    ]
    assert allowed(world, "x/a", "y/a")


def test_rule_11_types_left_out_with_egress_rules_isolate_both_ways(pods):
    for types in (None, []):
        world = [*pods, policy("x/p", {"policyTypes": types, "egress": [{"ports": [{"port": 80}]}]})]
        assert allowed(world, "x/a", "y/a", "TCP 80")
        assert not allowed(world, "x/a", "y/a", "TCP 81")
        assert not allowed(world, "y/a", "x/a", "TCP 80")


def test_rule_11_types_left_out_without_egress_rules_isolate_ingress_only(pods):
    world = [*pods, policy("x/p", {"egress": []})]
    assert allowed(world, "x/a", "y/a")
    assert not allowed(world, "y/a", "x/a")


def test_rule_12_any_peer_and_any_port_of_one_rule(pods):
    peers = [{"podSelector": {"matchLabels": {"app": "b"}}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}]
    ports = [{"port": 80}, {"port": 53, "protocol": "UDP"}]
    world = [*pods, policy("x/p", {"ingress": [{"from": peers, "ports": ports}]})]
    for source in ("x/b", "192.0.2.1"):
        assert allowed(world, source, "x/a", "TCP 80")
        assert allowed(world, source, "x/a", "UDP 53")
        assert not allowed(world, source, "x/a", "TCP 53")
    assert not allowed(world, "y/a", "x/a", "TCP 80")


def test_rule_12_a_peer_of_one_rule_and_a_port_of_another_do_not_combine(pods):
    rules = [
        {"from": [{"podSelector": {}}], "ports": [{"port": 80}]},
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 81}]},
    ]
    world = [*pods, policy("x/p", {"ingress": rules})]
    assert not allowed(world, "y/a", "x/a", "TCP 80")
    assert allowed(world, "y/a", "x/a", "TCP 81")
