"""Rules 34-57: nodes, host network, a pod and itself, families, life and death of objects, invalid content."""

from __future__ import annotations

import msgspec
import pytest

from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import UnknownPodError, endpoint_for, evaluate
from stockade.policy.verdict import AddressEndpoint, PodEndpoint
from stockade.store.delta import Delete, Upsert, apply
from stockade.store.state import ClusterState
from stockade.testing.ask import allowed, flow, verdict
from stockade.testing.build import namespace, node, pod, policy

DENY_ALL = policy("deny", {"policyTypes": ["Ingress", "Egress"]})


@pytest.fixture
def world():
    return [
        node("n1", "172.30.0.1", "fd00:30::1"),
        node("n2", "172.30.0.2"),
        namespace("default"),
        pod("a", {"app": "a"}, "10.244.0.1", "fd00::1", on="n1"),
        pod("b", {"app": "b"}, "10.244.0.2", on="n2"),
        pod("host", {"app": "a"}, "172.30.0.1", on="n1", host_network=True),
    ]


def test_rule_34_the_own_node_reaches_its_pods_and_not_the_other_way_round(world):
    denied = [*world, DENY_ALL]
    assert allowed(denied, "172.30.0.1", "a")
    assert allowed(denied, "fd00:30::1", "a")
    assert verdict(denied, "172.30.0.1", "a").ingress.reason == "own node"
    assert not allowed(denied, "a", "172.30.0.1")


def test_rule_34_a_pod_that_claims_its_nodes_address_is_not_the_node(world):
    liar = pod("liar", {}, "172.30.0.1", on="n1")
    assert not allowed([*world[:-1], liar, policy("deny", {"policyTypes": ["Ingress"]})], "liar", "a")


def test_rule_35_other_nodes_are_addresses_like_any_other(world):
    block = policy("nodes", {"ingress": [{"from": [{"ipBlock": {"cidr": "172.30.0.2/32"}}]}]})
    assert not allowed([*world, DENY_ALL], "172.30.0.2", "a")
    assert allowed([*world, DENY_ALL, block], "172.30.0.2", "a")


def test_rule_36_a_pod_reaches_itself(world):
    for destination in ("a", "10.244.0.1", "fd00::1", "127.0.0.1", "::1"):
        assert allowed([*world, DENY_ALL], "a", destination)
    assert verdict([*world, DENY_ALL], "a", "a").egress.reason == "own address"


def test_rule_37_a_host_network_pod_is_no_subject(world):
    denied = [*world, DENY_ALL]
    assert allowed(denied, "host", "192.0.2.1")
    assert allowed(denied, "192.0.2.1", "host")
    assert compile_state(ClusterState.of(denied)).pods[2].ingress is None


def test_rule_38_a_host_network_pod_is_no_selector_peer_but_an_address(world):
    by_label = policy("p", {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]})
    by_address = policy("p", {"ingress": [{"from": [{"ipBlock": {"cidr": "172.30.0.1/32"}}]}]})
    assert not allowed([*world, by_label], "host", "b")
    assert allowed([*world, by_label], "a", "b")
    assert allowed([*world, by_address], "host", "b")


def test_rule_38_a_host_network_pod_is_its_pods_own_node(world):
    assert allowed([*world, DENY_ALL], "host", "a")
    unaddressed = pod("host", {}, on="n1", host_network=True)
    assert allowed([*world[1:-1], unaddressed, DENY_ALL], "host", "a")


def test_rule_34_the_nodes_address_is_also_known_from_its_pods(world):
    subject = pod("a", {"app": "a"}, "10.244.0.1", on="n1")
    told = msgspec.structs.replace(
        subject, status=msgspec.structs.replace(subject.status, host_ip="172.30.0.1")
    )
    assert allowed([told, DENY_ALL], "172.30.0.1", "a")
    assert not allowed([subject, DENY_ALL], "172.30.0.1", "a")


def test_rule_21_an_ipv4_address_written_as_ipv6_is_ipv4(world):
    rule = policy("p", {"ingress": [{"from": [{"ipBlock": {"cidr": "10.244.0.3/32"}}]}]})
    assert allowed([*world, pod("c", {}, "::ffff:10.244.0.3"), rule], "c", "a")


def test_rule_46_selectors_cover_both_families(world):
    rule = policy("p", {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]})
    dual = pod("b", {"app": "b"}, "10.244.0.2", "fd00::2", on="n2")
    objects = [*world[:4], dual, rule]
    assert allowed(objects, "10.244.0.2", "a")
    assert allowed(objects, "fd00::2", "a")


def test_rule_47_readiness_does_not_matter(world):
    pending = pod("c", {"app": "c"}, "10.244.0.3", phase="Pending")
    assert not allowed([*world, pending, DENY_ALL], "b", "c")


def test_rule_48_a_terminating_pod_counts_and_a_finished_one_does_not(world):
    rule = policy("p", {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}]})
    leaving = pod("c", {"app": "c"}, "10.244.0.3", terminating=True)
    assert allowed([*world, leaving, rule], "10.244.0.3", "a")
    for phase in ("Succeeded", "Failed"):
        done = pod("c", {"app": "c"}, "10.244.0.3", phase=phase)
        assert not allowed([*world, done, rule], "10.244.0.3", "a")
        with pytest.raises(UnknownPodError, match="default/c does not exist or has finished"):
            verdict([*world, done, rule], "c", "a")


def test_rule_48_an_address_that_was_taken_over_belongs_to_the_new_pod(world):
    rule = policy("p", {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "old"}}}]}]})
    old = pod("old", {"app": "old"}, "10.244.0.3", terminating=True)
    new = pod("young", {"app": "young"}, "10.244.0.3")
    state = ClusterState.of([*world, old, new, rule])
    assert not allowed(state, "10.244.0.3", "a")
    compiled = compile_state(state)
    assert endpoint_for(compiled, (4, 0x0AF40003)) == PodEndpoint(ObjectRef("default", "young"))
    assert compiled.pods[compiled.by_ref[ObjectRef("default", "old")]].addresses == ()


def test_rule_49_a_pod_without_an_address_has_an_entry_and_matches_by_label_only(world):
    pending = pod("c", {"app": "c"}, phase="Pending")
    block = policy("p", {"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]})
    assert not allowed([*world, pending, block], "c", "a")
    assert allowed([*world, pending, block], "b", "a")


def test_rule_52_labels_that_change_select_again_at_once(world):
    rule = policy(
        "p",
        {
            "podSelector": {"matchLabels": {"app": "a"}},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"ok": "yes"}}}]}],
        },
    )
    state = ClusterState.of([*world, rule])
    assert not allowed(state, "b", "a")
    labelled = apply(state, [Upsert("namespaces", namespace("default", {"ok": "yes"}))])
    assert allowed(labelled, "b", "a")
    renamed = apply(state, [Upsert("pods", pod("a", {"app": "else"}, "10.244.0.1", on="n1"))])
    assert allowed(renamed, "b", "a")


def test_rule_53_a_policy_that_is_deleted_is_gone(world):
    state = ClusterState.of([*world, DENY_ALL])
    assert not allowed(state, "b", "a")
    assert allowed(apply(state, [Delete("networkpolicies", DENY_ALL.ref)]), "b", "a")


def test_rule_56_one_name_in_two_namespaces_is_two_policies(world):
    elsewhere = policy("other/deny", {"policyTypes": ["Ingress"], "ingress": [{}]})
    objects = [*world, pod("other/a", {}, "10.244.1.1"), DENY_ALL, elsewhere]
    assert allowed(objects, "172.30.0.9", "other/a")
    assert not allowed(objects, "172.30.0.9", "a")


BAD_ITEMS = [
    {"ports": [{"port": 70000}]},
    {"ports": [{"port": 0}]},
    {"ports": [{"port": 80, "endPort": 79}]},
    {"ports": [{"port": 80, "endPort": 70000}]},
    {"ports": [{"endPort": 90}]},
    {"ports": [{"port": "web", "endPort": 90}]},
    {"ports": [{"port": 80, "protocol": "tcp"}]},
    {"ports": [{"protocol": "ICMP"}]},
    {"ports": [{"port": "80"}]},
    {"from": [{}]},
    {"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]},
    {"from": [{"ipBlock": {"cidr": "0.0.0.0/0.0.0.0"}}]},
    {"from": [{"ipBlock": {}}]},
    {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["nonsense"]}}]},
    {"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["192.0.2.0/24"]}}]},
    {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["fd00::/8"]}}]},
    {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}, "podSelector": {}}]},
    {"from": [{"podSelector": {"matchExpressions": [{"key": "k", "operator": "Equals", "values": ["v"]}]}}]},
    {"from": [{"podSelector": {"matchExpressions": [{"key": "k", "operator": "NotIn"}]}}]},
    {
        "from": [
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["b"]}]}}
        ]
    },
]


@pytest.mark.parametrize("rule", BAD_ITEMS, ids=str)
def test_rule_57_an_invalid_item_matches_nothing_and_isolates(world, rule):
    server = pod("web", {"app": "web"}, "10.244.0.7", ports=[{"name": "web", "containerPort": 80}])
    selector = {"podSelector": {"matchLabels": {"app": "web"}}}
    assert not allowed([*world, server, policy("p", {**selector, "ingress": [rule]})], "b", "web", "TCP 80")


def test_rule_57_a_valid_item_beside_an_invalid_one_still_counts(world):
    rule = {"from": [{"podSelector": {}}], "ports": [{"port": 70000}, {"port": 80}]}
    assert allowed([*world, policy("p", {"ingress": [rule]})], "b", "a", "TCP 80")


def test_rule_57_unknown_policy_types_are_ignored_and_known_ones_isolate(world):
    mixed = policy("p", {"policyTypes": ["egress", "Ingress"], "egress": []})
    assert not allowed([*world, mixed], "b", "a")
    assert allowed([*world, mixed], "a", "192.0.2.1")


def test_rule_57_policy_types_of_which_none_is_known_are_the_default(world):
    assert not allowed([*world, policy("p", {"policyTypes": ["egress"]})], "b", "a")
    with_rules = policy("p", {"policyTypes": ["egress"], "egress": [{"ports": [{"port": 53}]}]})
    assert not allowed([*world, with_rules], "a", "192.0.2.1")


def test_rule_57_an_invalid_subject_selector_isolates_and_opens_nothing(world):
    bad = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "x", "operator": "Gt", "values": ["1"]}]}
    objects = [*world, policy("p", {"podSelector": bad, "ingress": [{}]})]
    assert not allowed(objects, "192.0.2.1", "a")
    assert allowed(objects, "192.0.2.1", "b")


def test_endpoint_for_knows_pods_nodes_and_strangers(world):
    compiled = compile_state(ClusterState.of(world))
    assert endpoint_for(compiled, (4, 0x0AF40001)) == PodEndpoint(ObjectRef("default", "a"))
    assert endpoint_for(compiled, (4, 0xAC1E0002)) == AddressEndpoint(4, 0xAC1E0002, "node n2 (172.30.0.2)")
    assert str(endpoint_for(compiled, (4, 0xC0000201))) == "192.0.2.1"


def test_a_pod_that_is_not_there_is_an_error_in_words(world):
    with pytest.raises(UnknownPodError, match="pod default/nobody does not exist or has finished"):
        evaluate(compile_state(ClusterState.of(world)), flow("nobody", "a"))
