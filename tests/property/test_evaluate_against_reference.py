"""Two readings of one specification must agree on every random world, in each direction, and each verdict's proof holds."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from stockade.model.meta import ObjectRef
from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import DirectionVerdict, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.strategies import scenarios


def _who(end: Endpoint) -> ObjectRef | str:
    return end.ref if isinstance(end, PodEndpoint) else end.text


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


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
def test_evaluate_agrees_with_the_reference(scenario: tuple[ClusterState, list[Flow]]) -> None:
    state, flows = scenario
    compiled = compile_state(state)
    for flow in flows:
        verdict = evaluate(compiled, flow)
        question = _who(flow.source), _who(flow.destination), flow.protocol, flow.port, flow.family
        assert verdict.egress.allowed == reference.egress_allowed(state, *question), flow
        assert verdict.ingress.allowed == reference.ingress_allowed(state, *question), flow
        assert verdict.allowed == reference.allowed(state, *question), flow
        _check_proof(verdict.egress)
        _check_proof(verdict.ingress)
