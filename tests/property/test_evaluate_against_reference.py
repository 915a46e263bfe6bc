"""Two readings of one specification must agree on every random world, in each direction, and each verdict's proof holds."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import DirectionVerdict, Flow
from stockade.store.state import ClusterState
from stockade.testing.disagreement import disagreements, smallest, still_differs, written
from stockade.testing.sampling import sample
from stockade.testing.strategies import scenarios, worlds

CHECKED = settings(deadline=None, suppress_health_check=list(HealthCheck))
WORLDS, FLOWS = 200, 100


def _check_proof(proof: DirectionVerdict) -> None:
    assert proof.reason
    if proof.allowed:
        assert not proof.misses
        assert bool(proof.allowed_by) == bool(proof.isolated_by)
        assert {rule.policy for rule in proof.allowed_by} <= set(proof.isolated_by)
        return
    assert proof.subject is not None
    assert proof.isolated_by
    assert all(miss.detail for miss in proof.misses)
    scores = [miss.score for miss in proof.misses]
    assert scores == sorted(scores, reverse=True)


@settings(CHECKED, max_examples=WORLDS)
@given(worlds(), st.integers(0, 2**32), st.booleans())
def test_evaluate_agrees_with_the_reference(state: ClusterState, luck: int, blocks_match_pods: bool) -> None:
    flows = sample(state, Random(luck), FLOWS)
    for flow in disagreements(state, flows, blocks_match_pods=blocks_match_pods):
        world = smallest(state, still_differs(flow, blocks_match_pods=blocks_match_pods))
        raise AssertionError(f"{flow}\n{written(world)}")


def test_twenty_thousand_flows_are_compared() -> None:
    assert WORLDS * FLOWS >= 20_000


@settings(CHECKED, max_examples=100)
@given(scenarios())
def test_proofs_hold_and_misses_change_no_verdict(scenario: tuple[ClusterState, list[Flow]]) -> None:
    state, flows = scenario
    compiled = compile_state(state)
    for flow in flows:
        verdict, brief = evaluate(compiled, flow), evaluate(compiled, flow, misses=False)
        for proof, short in ((verdict.egress, brief.egress), (verdict.ingress, brief.ingress)):
            _check_proof(proof)
            assert short.allowed == proof.allowed
            assert short.allowed_by == proof.allowed_by
            assert short.misses == ()
