"""Proofs as data, on the recipe."""

from __future__ import annotations

import msgspec

from stockade.policy.explain import Proof, explain, summary
from stockade.testing.ask import verdict
from stockade.testing.worlds import recipe

DNS_POD = "kube-system/kube-dns"


def test_a_denied_lookup_names_the_policy_and_that_it_has_no_rules():
    proof = explain(verdict(recipe("deny-all"), "test", DNS_POD, "UDP 53"))
    assert not proof.allowed
    assert proof.denied_direction == "Egress"
    assert proof.egress.isolated_by == ("default/foo-deny-egress",)
    assert proof.summary == (
        "pod default/test -> pod kube-system/kube-dns UDP 53: denied, egress of pod default/test: "
        "isolated by default/foo-deny-egress, which has no egress rules"
    )


def test_a_near_miss_says_which_rule_and_what_differs():
    proof = explain(verdict(recipe("dns"), "test", "web", "TCP 80"))
    (near,) = proof.egress.nearest
    assert near.rule == "default/foo-deny-egress egress[0]"
    assert near.part == "port"
    assert near.detail == "TCP 80 is not among its ports (UDP 53, TCP 53)"
    assert proof.summary.endswith(f"no rule allows it, nearest {near.rule}: {near.detail}")


def test_an_allowed_flow_names_the_rule_or_says_that_nobody_isolates():
    by_rule = summary(verdict(recipe("dns"), "test", DNS_POD, "UDP 53"))
    assert by_rule.endswith(
        "allowed, egress of pod default/test: allowed by default/foo-deny-egress egress[0]"
    )
    assert summary(verdict(recipe(), "test", "web")).endswith("allowed, not isolated")
    assert summary(verdict(recipe(), "192.0.2.1", "192.0.2.2")).endswith("no pod of the cluster is involved")


def test_a_proof_survives_json():
    proof = explain(verdict(recipe("dns"), "test", "web", "TCP 80"))
    assert msgspec.json.decode(msgspec.json.encode(proof), type=Proof) == proof


def test_only_the_nearest_misses_are_shown_and_the_rest_counted():
    proof = explain(verdict(recipe("dns"), "test", "web", "TCP 80"), nearest=0)
    assert proof.egress.nearest == ()
    assert proof.egress.other_misses == 1
