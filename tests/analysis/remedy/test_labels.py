"""Selectors that say who is meant: few labels, lasting ones, and nobody else."""

from __future__ import annotations

from stockade.analysis.remedy.labels import LabelChooser
from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod

HASH = "pod-template-hash"


def choose(labels: dict[str, dict[str, str]], *wanted: str, **more) -> list[tuple[str, list[str]]]:
    pods = [pod(name, own) for name, own in labels.items()]
    chooser = LabelChooser(compile_state(ClusterState.of(pods)))
    free = [ObjectRef("default", name) for name in more.pop("free", ())]
    refs = [ObjectRef("default", name) for name in wanted]
    found = chooser.choose(refs, free, **more)
    return [(str(choice.selector), [ref.name for ref in choice.pods]) for choice in found]


def test_one_label_is_enough_when_nobody_else_has_it():
    assert choose({"a": {"x": "1", "app": "a"}, "b": {"x": "1"}}, "a") == [("app=a", ["a"])]


def test_usual_labels_win_and_labels_of_the_policies_at_hand_win_over_those():
    labels = {"a": {"zone": "z", "app": "a", "k8s-app": "a", "version": "1"}}
    assert choose(labels, "a") == [("k8s-app=a", ["a"])]
    assert choose(labels, "a", likely={"zone"}) == [("zone=z", ["a"])]


def test_more_labels_when_one_is_shared():
    labels = {"a": {"app": "w", "tier": "x"}, "b": {"app": "w", "tier": "y"}, "c": {"app": "v", "tier": "x"}}
    assert choose(labels, "a") == [("app=w,tier=x", ["a"])]


def test_generated_labels_only_when_nothing_else_tells_pods_apart():
    labels = {"a": {"app": "w", HASH: "1"}, "b": {"app": "w", HASH: "1"}, "c": {"app": "v", HASH: "2"}}
    assert choose(labels, "a", "b") == [("app=w", ["a", "b"])]
    assert choose(labels, "a") == [("app=w", ["a", "b"])]
    rollout = {"a": {"app": "w", HASH: "1"}, "b": {"app": "w", HASH: "2"}}
    assert choose(rollout, "a") == [(f"{HASH}=1", ["a"])]
    name = "statefulset.kubernetes.io/pod-name"
    revision = "controller-revision-hash"
    members = {f"db-{n}": {"app": "db", name: f"db-{n}", revision: f"r{n}"} for n in (0, 1)}
    assert choose(members, "db-0") == [(f"{name}=db-0", ["db-0"])]


def test_a_missing_label_tells_a_pod_from_those_that_have_more():
    labels = {
        "a": {"app": "w"},
        "b": {"app": "w", "extra": "1"},
        "c": {"app": "w", "other": "1", "extra": "2"},
    }
    assert choose(labels, "a") == [("app=w,!extra", ["a"])]
    assert choose({"a": {}, "b": {"app": "w"}}, "a") == [("!app", ["a"])]


def test_pods_with_the_same_labels_come_along_and_no_others():
    labels = {"a": {"app": "w"}, "twin": {"app": "w"}, "b": {"app": "w", "x": "1"}}
    assert choose(labels, "a") == [("app=w,!x", ["a", "twin"])]


def test_without_any_label_a_pod_is_meant_by_the_empty_selector():
    assert choose({"a": {}}, "a") == [("<all>", ["a"])]


def test_pods_that_gain_nothing_make_a_shorter_selector_possible():
    labels = {"a": {"app": "w", "n": "1"}, "b": {"app": "w", "n": "2"}, "c": {"n": "1"}}
    assert choose(labels, "a") == [("app=w,n=1", ["a"])]
    assert choose(labels, "a", free=["b"]) == [("app=w", ["a", "b"])]


def test_several_pods_without_a_common_mark_take_several_selectors():
    labels = {"a": {"app": "v"}, "b": {"app": "w"}, "c": {"app": "x"}}
    assert choose(labels, "a", "b") == [("app=v", ["a"]), ("app=w", ["b"])]


def test_pods_with_many_labels_are_told_apart_too():
    common = {f"l{n}": "x" for n in range(12)}
    odd = {f"odd{n}": {**common, f"l{n}": "y"} for n in range(12)}
    assert choose({"a": common, **odd}, "a") == [(",".join(f"{key}=x" for key in sorted(common)), ["a"])]


def test_host_network_pods_are_never_chosen():
    pods = [pod("a", {"app": "w"}), pod("b", {"app": "w"}, host_network=True)]
    (found,) = LabelChooser(compile_state(ClusterState.of(pods))).choose([ObjectRef("default", "a")])
    assert found.pods == (ObjectRef("default", "a"),)
