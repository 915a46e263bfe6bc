"""Which way a step goes, and what happens after one that failed. That all ways end in the same ruleset: tests/property/test_live.py."""

from __future__ import annotations

import pytest

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live import rules
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.patch import Patch
from stockade.model.meta import ObjectRef, View
from stockade.model.objects import Pod
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.store.delta import Delete, Delta, Upsert, apply
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, pod, policy

NODE = NodeView("n", (parse_block("10.244.0.0/24"),))
SPEC = {
    "podSelector": {"matchLabels": {"app": "web"}},
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}]}],
}
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def web(number: int, app: str = "web", *, on: str = "n") -> Pod:
    return pod(f"{app}-{number}", {"app": app}, f"10.244.0.{number}", on=on)


class Agent:
    """Applies deltas as the agent does."""

    def __init__(self, *objects: View) -> None:
        self.live = LiveRules()
        self.state = ClusterState.of(objects)
        self.live.start(self.state, NODE)

    def step(self, *deltas: Delta, node: NodeView = NODE) -> Patch | Ruleset:
        self.state = apply(self.state, deltas)
        found = self.live.step(self.state, node, deltas)
        assert self.live.wanted() == lower(compile_state(self.state), node)
        return found

    def upsert(self, kind: str, item: View) -> Patch | Ruleset:
        return self.step(Upsert(kind, item))


@pytest.fixture
def agent() -> Agent:
    return Agent(policy("p", SPEC), web(1), web(2, "api"), web(3, "api", on="other"))


@pytest.fixture
def no_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """``agent`` before it in a test's arguments may still compile."""

    def compiled(state: ClusterState) -> None:
        raise AssertionError("the whole state was compiled")

    monkeypatch.setattr(rules, "compile_state", compiled)


def test_a_pod_like_others_is_a_patch_that_cuts_nobody(agent: Agent, no_compile: None) -> None:
    found = agent.upsert("pods", web(9))
    assert isinstance(found, Patch)
    assert found.identities["id4"].come.keys() == {parse_address("10.244.0.9")[1]}
    assert not found.stricter
    assert agent.live.local[web(9).ref].addresses == (parse_address("10.244.0.9"),)


def test_a_pod_that_was_not_fenced_is_judged_anew(agent: Agent, no_compile: None) -> None:
    outside = pod("out", {"app": "web"}, "10.9.0.1", on="n")
    found = agent.upsert("pods", outside)
    assert isinstance(found, Patch)
    assert found.stricter


def test_a_pod_that_ends_is_stricter(agent: Agent, no_compile: None) -> None:
    found = agent.step(Delete("pods", web(3, "api").ref))
    assert isinstance(found, Patch)
    assert found.stricter
    assert not found.identities


def test_the_last_pod_of_a_profile_takes_it_along(agent: Agent, no_compile: None) -> None:
    assert agent.live.profiles
    found = agent.step(Delete("pods", web(1).ref))
    assert isinstance(found, Ruleset)
    assert not agent.live.profiles
    again = agent.upsert("pods", web(1))
    assert isinstance(again, Ruleset)
    assert agent.live.profiles


def test_a_policy_lowers_its_own_profile_and_keeps_the_others(agent: Agent, no_compile: None) -> None:
    before = agent.live.wanted()
    found = agent.upsert("networkpolicies", policy("q", {"podSelector": {"matchLabels": {"app": "api"}}}))
    assert isinstance(found, Ruleset)
    (old,) = [name for name in before.chains if name.startswith("i_")]
    assert found.chains[old] is before.chains[old]
    assert len([name for name in found.chains if name.startswith("i_")]) == 2


def test_what_concerns_no_pod_here_is_an_empty_patch(agent: Agent, no_compile: None) -> None:
    for kind, item in (
        ("networkpolicies", policy("elsewhere/p", DENY)),
        ("namespaces", namespace("fresh")),
        ("pods", web(7, "other", on="other")),
    ):
        found = agent.upsert(kind, item)
        assert isinstance(found, Patch)
        assert found.is_empty
        assert not found.stricter


def test_another_view_of_the_node_is_made_anew(agent: Agent) -> None:
    found = agent.step(node=NodeView("n", (*NODE.pod_cidrs, parse_block("10.245.0.0/24"))))
    assert isinstance(found, Ruleset)
    assert len(found.fenced) == 2


def test_thousands_of_pods_at_once_are_made_anew(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_MANY", 2)
    assert isinstance(agent.step(*(Upsert("pods", web(n)) for n in (10, 11))), Patch)
    assert isinstance(agent.step(*(Upsert("pods", web(n)) for n in (12, 13, 14))), Ruleset)


def test_after_a_failure_everything_is_made_anew(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(rules, "set_changes", broken)
        with pytest.raises(RuntimeError, match="broken"):
            agent.upsert("pods", web(9))
    assert isinstance(agent.upsert("pods", web(10)), Ruleset)
    assert {ref.name for ref in agent.live.local} == {"web-1", "api-2", "web-9", "web-10"}


def test_the_first_and_the_last_address_of_a_family_change_the_rules(agent: Agent) -> None:
    six = pod("six", {"app": "api"}, "fd00::1", on="other")
    assert isinstance(agent.upsert("pods", six), Ruleset)
    assert any(name.startswith("p6_") for name in agent.live.wanted().sets)
    assert isinstance(agent.upsert("pods", pod("more", {"app": "api"}, "fd00::2", on="other")), Patch)
    assert isinstance(agent.step(Delete("pods", six.ref)), Patch)
    assert isinstance(agent.step(Delete("pods", pod("more").ref)), Ruleset)


def test_a_label_of_a_namespace_moves_its_pods_between_sets(agent: Agent) -> None:
    peers = {"namespaceSelector": {"matchLabels": {"team": "red"}}}
    agent.upsert("networkpolicies", policy("p", {**SPEC, "ingress": [{"from": [peers]}]}))
    agent.upsert("pods", pod("blue/x", {}, "10.9.0.7", on="other"))
    found = agent.upsert("namespaces", namespace("blue", {"team": "red"}))
    assert isinstance(found, Patch)
    (change,) = found.sets.values()
    assert change.come == {(parse_address("10.9.0.7")[1],)}
    assert isinstance(agent.step(Delete("namespaces", ObjectRef("", "blue"))), Patch)
