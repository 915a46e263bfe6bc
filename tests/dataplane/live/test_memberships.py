"""One pod at a time must say what the compiler says of all pods at once."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.dataplane.live.claims import Claims
from stockade.dataplane.live.labels import SelectorIndex
from stockade.dataplane.live.memberships import Memberships
from stockade.model.meta import ObjectRef
from stockade.model.selectors import LabelSelector, LabelSelectorRequirement
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies, PodEntry, SelectorPeer
from stockade.store.state import ClusterState
from stockade.testing.build import pod
from stockade.testing.strategies import worlds

CHECKED = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def _selected(compiled: CompiledPolicies, entry: PodEntry) -> set[str]:
    profiles = (p for each in compiled.pods for p in (each.egress, each.ingress) if p)
    peers = (peer for profile in profiles for rule in profile.rules for peer in rule.peers or ())
    return {p.key for p in peers if isinstance(p, SelectorPeer) and p.pods >> entry.index & 1}


@CHECKED
@given(worlds())
def test_memberships_are_those_of_the_compiler(state: ClusterState) -> None:
    compiled = compile_state(state)
    memberships = Memberships(state, compiled.selections.values())
    for entry in compiled.pods:
        found = memberships.of(entry.pod)
        assert found == memberships.of(entry.pod)
        assert set(found.selections) >= _selected(compiled, entry)
        assert len(set(found.selections)) == len(found.selections)
        assert found.egress == (entry.egress.policies if entry.egress else ())
        assert found.ingress == (entry.ingress.policies if entry.ingress else ())
        used = {p.key for p in _peers(compiled)}
        assert set(found.selections) & used == _selected(compiled, entry)


def _peers(compiled: CompiledPolicies) -> list[SelectorPeer]:
    profiles = (p for each in compiled.pods for p in (each.egress, each.ingress) if p)
    peers = (peer for profile in profiles for rule in profile.rules for peer in rule.peers or ())
    return [peer for peer in peers if isinstance(peer, SelectorPeer)]


@CHECKED
@given(st.lists(worlds(), min_size=2, max_size=3))
def test_claims_follow_pods_from_one_world_to_the_next(states: list[ClusterState]) -> None:
    pods = dict(states[0].pods)
    claims = Claims(pods)
    for state in states:
        for ref in sorted(set(pods) | set(state.pods), reverse=True):
            claims.move(ref, pods.get(ref), state.pods.get(ref))
            pods.pop(ref, None)
            if ref in state.pods:
                pods[ref] = state.pods[ref]
        compiled = compile_state(state)
        assert claims.families == tuple(sorted({family for family, _ in compiled.by_address}))
        owned = {
            address: ref
            for ref, each in state.pods.items()
            for address in claims.owned(ref, each, state.pods.__getitem__)
        }
        assert owned == {a: compiled.pods[index].ref for a, index in compiled.by_address.items()}


def test_rivals_are_the_other_claimants() -> None:
    pods = {
        each.ref: each
        for each in (pod("a", {}, "10.0.0.1"), pod("b", {}, "10.0.0.1"), pod("c", {}, "10.0.0.2"))
    }
    claims = Claims(pods)
    first, second, third = (ObjectRef("default", name) for name in "abc")
    assert claims.rivals(first, pods[first]) == {second}
    assert claims.rivals(third, pods[third]) == set()
    assert claims.rivals(third, pods[first]) == {first, second}
    assert claims.rivals(first, None) == set()


def test_selectors_are_filed_under_what_they_need() -> None:
    def wants(key: str, operator: str, *values: str) -> LabelSelector:
        return LabelSelector(
            match_expressions=[
                LabelSelectorRequirement(key=key, operator=operator, values=list(values) or None)
            ]
        )

    index = SelectorIndex(
        [
            (None, "all"),
            (LabelSelector(), "empty"),
            (LabelSelector(match_labels={"app": "x", "tier": "y"}), "both"),
            (wants("app", "In", "x", "z", "x"), "in"),
            (wants("app", "NotIn", "x"), "not in"),
            (wants("tier", "Exists"), "exists"),
            (wants("tier", "DoesNotExist"), "absent"),
        ]
    )

    def found(**labels: str) -> list[str]:
        return sorted(index.matching(labels))

    assert found() == ["absent", "all", "empty", "not in"]
    assert found(app="x") == ["absent", "all", "empty", "in"]
    assert found(app="x", tier="y") == ["all", "both", "empty", "exists", "in"]
    assert found(app="z", tier="q") == ["all", "empty", "exists", "in", "not in"]
