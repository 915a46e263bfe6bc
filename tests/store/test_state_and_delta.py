"""States are values: deltas make new ones and leave the old alone."""

from __future__ import annotations

import pytest

from stockade.model.meta import ObjectMeta, ObjectRef
from stockade.model.objects import Container, NodeAddress
from stockade.store.delta import Delete, Replace, Upsert, apply
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy, service
from stockade.testing.worlds import recipe


def test_of_sorts_objects_into_their_tables():
    state = recipe("dns")
    assert sorted(state.namespaces) == ["default", "kube-system"]
    assert list(state.nodes) == ["lab-node-1"]
    assert ObjectRef("kube-system", "kube-dns") in state.pods
    assert ObjectRef("kube-system", "kube-dns") in state.services
    assert [each.ref.name for each in state.policies_in("default")] == ["foo-deny-egress"]
    assert state.policies_in("kube-system") == ()


def test_policies_of_a_namespace_come_sorted_by_name():
    state = ClusterState.of([policy(name, {}) for name in ("b", "c", "a", "other/a")])
    assert [each.ref.name for each in state.policies_in("default")] == ["a", "b", "c"]


def test_of_refuses_what_is_no_cluster_object():
    with pytest.raises(TypeError, match="NodeAddress is not part of the cluster state"):
        ClusterState.of([NodeAddress(address="x")])
    with pytest.raises(TypeError, match="Container"):
        ClusterState.of([Container()])


def test_of_keeps_the_last_of_equal_names():
    state = ClusterState.of([pod("a", {"v": "1"}), pod("a", {"v": "2"})])
    assert state.pods[ObjectRef("default", "a")].labels == {"v": "2"}


def test_a_namespace_nobody_gave_is_implied_and_carries_its_name():
    state = ClusterState.of(
        [namespace("x", {"team": "t"}), pod("y/a"), policy("z/p", {}), service("w/s", None, "")]
    )
    assert state.namespace_names() == ("w", "x", "y", "z")
    assert state.namespace("y").labels == {"kubernetes.io/metadata.name": "y"}
    assert state.namespace("x").labels == {"team": "t", "kubernetes.io/metadata.name": "x"}


def test_deltas_make_a_new_state_and_leave_the_old_one_alone():
    before = recipe("none")
    rule = policy("default/p", {})
    after = apply(before, [Upsert("networkpolicies", rule), Delete("pods", ObjectRef("default", "web"))])
    assert before.policies == {}
    assert after.policies_in("default") == (rule,)
    assert ObjectRef("default", "web") in before.pods
    assert ObjectRef("default", "web") not in after.pods
    assert after.services is before.services


def test_cluster_scoped_kinds_are_keyed_by_name():
    state = apply(ClusterState(), [Upsert("nodes", node("n")), Upsert("namespaces", namespace("x"))])
    assert list(state.nodes) == ["n"]
    gone = apply(state, [Delete("nodes", ObjectRef("", "n")), Delete("namespaces", ObjectRef("", "x"))])
    assert gone == ClusterState()


def test_replace_is_the_whole_truth_about_a_kind():
    state = apply(recipe("none"), [Replace("pods", (pod("only"),))])
    assert [str(ref) for ref in state.pods] == ["default/only"]


def test_order_counts_within_one_call():
    again = pod("a", {"v": "2"})
    state = apply(
        ClusterState(), [Upsert("pods", pod("a")), Delete("pods", again.ref), Upsert("pods", again)]
    )
    assert state.pods == {again.ref: again}


@pytest.mark.parametrize(
    "delta",
    [
        Upsert("pods", pod("same")),
        Delete("pods", ObjectRef("default", "never-there")),
        Replace("pods", (pod("same"),)),
    ],
    ids=["upsert", "delete", "replace"],
)
def test_nothing_changed_gives_the_same_state_back(delta):
    state = ClusterState.of([pod("same")])
    assert apply(state, [delta]) is state


def test_an_unknown_kind_is_an_error_in_words():
    with pytest.raises(ValueError, match="unknown kind 'Pod'; known: namespaces, nodes, pods"):
        apply(ClusterState(), [Delete("Pod", ObjectMeta(name="x").ref)])
