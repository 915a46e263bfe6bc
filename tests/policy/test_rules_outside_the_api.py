"""Rules 32, 40, 41, 58, 60: what the API leaves out or open, and where the engine must not look."""

from __future__ import annotations

import msgspec
import pytest

from stockade.manifests.load import load_text
from stockade.model.objects import Service
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.store.state import ClusterState
from stockade.testing.ask import allowed, flow, verdict
from stockade.testing.build import namespace, node, pod, policy, service

WEB = {"matchLabels": {"app": "web"}}
CLIENT = "203.0.113.9"  # outside
OWN_NODE, OTHER_NODE = "172.30.0.1", "172.30.0.2"


@pytest.fixture
def world():
    return [
        node("n1", OWN_NODE),
        node("n2", OTHER_NODE),
        namespace("default"),
        pod("web", {"app": "web"}, "10.244.0.1", on="n1"),
        pod("a", {"app": "a"}, "10.244.1.1", on="n2"),
    ]


@pytest.mark.parametrize("port", ["TCP 80", "UDP 80", "SCTP 80", "ICMP"])
def test_rule_32_deny_all_covers_the_three_protocols_and_by_choice_icmp(world, port):
    assert allowed(world, "a", "web", port)
    assert not allowed([*world, policy("deny", {"ingress": []})], "a", "web", port)


@pytest.mark.parametrize("protocol", ["GRE", "ESP", "VRRP"])
def test_rule_32_other_protocols_pass_only_rules_without_ports(world, protocol):
    def asked(*policies):
        return evaluate(
            compile_state(ClusterState.of([*world, *policies])), flow("a", "web", protocol)
        ).allowed

    every_port = [{"ports": [{"protocol": each} for each in ("TCP", "UDP", "SCTP")]}]
    assert asked()
    assert not asked(policy("p", {"ingress": []}))
    assert not asked(policy("p", {"ingress": every_port}))
    assert asked(policy("p", {"ingress": [{}]}))


def test_rule_40_no_service_changes_any_verdict(world):
    """Not its name, type, labels, selector or address: only pods and addresses of packets count."""
    rule = policy(
        "p", {"podSelector": WEB, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]}
    )
    labelled = service("web", {"app": "a"}, "10.96.0.7", {"port": 80})
    meta = msgspec.structs.replace(labelled.metadata, labels={"app": "b"})
    variants = [
        msgspec.structs.replace(
            labelled, metadata=meta, spec=msgspec.structs.replace(labelled.spec, type=kind)
        )
        for kind in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
    ]
    questions = [("a", "web"), ("web", "a"), ("10.96.0.7", "web"), (CLIENT, "web"), ("a", "10.96.0.7")]
    plain = [allowed([*world, rule], *question) for question in questions]
    assert plain == [False, True, False, False, True]
    for variant in variants:
        assert isinstance(variant, Service)
        assert [allowed([*world, rule, variant], *question) for question in questions] == plain


def from_block(cidr: str):
    return policy("p", {"podSelector": WEB, "ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]})


def test_rule_41_through_a_load_balancer_the_address_that_arrives_counts(world):
    """externalTrafficPolicy Local keeps the client's address; Cluster may show a node's instead."""
    clients, nodes = from_block("203.0.113.0/24"), from_block(f"{OTHER_NODE}/32")
    assert allowed([*world, clients], CLIENT, "web")
    assert not allowed([*world, clients], OTHER_NODE, "web")  # the same client, translated by another node
    assert allowed([*world, nodes], OTHER_NODE, "web")
    assert not allowed([*world, nodes], CLIENT, "web")


def test_rule_41_translated_by_the_pods_own_node_it_is_node_traffic(world):
    assert allowed([*world, from_block("192.0.2.0/24")], OWN_NODE, "web")
    assert verdict([*world, from_block("192.0.2.0/24")], OWN_NODE, "web").ingress.reason == "own node"


def test_rule_58_where_pods_run_changes_nothing_between_them(world):
    rule = policy(
        "p", {"podSelector": WEB, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]}
    )
    moved = [pod("a", {"app": "a"}, "10.244.0.9", on="n1")]
    stranger = pod("b", {"app": "b"}, "10.244.0.8", on="n1")
    for objects in ([*world, rule, stranger], [*world, rule, stranger, *moved]):
        assert allowed(objects, "a", "web")
        assert not allowed(objects, "b", "web")


HEAD = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector: {}\n"
)


@pytest.mark.parametrize(
    "wish",
    [
        "  ingress: [{from: [{serviceSelector: {}}]}]",
        "  ingress: [{from: [{serviceAccountSelector: {}}]}]",
        "  egress: [{to: [{nodeSelector: {}}]}]",
        "  egress: [{to: [{fqdn: example.com}]}]",
        "  egress: [{ports: [{port: 80, path: /admin}]}]",
        "  egress: [{to: [], action: Deny}]",
        "  log: true",
        "  priority: 1",
    ],
)
def test_rule_60_what_the_api_has_not_is_an_error_and_no_policy(wish):
    loaded = load_text(HEAD + wish, "p.yaml")
    assert loaded.has_errors
    assert loaded.objects == ()
    assert "unknown field" in str(loaded.diagnostics[0])
