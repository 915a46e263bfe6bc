"""The random worlds are what they promise: valid when asked, and rich enough to be worth the time."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.store.state import ClusterState
from stockade.testing.strategies import scenarios, worlds

QUIET = [HealthCheck.too_slow]


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(worlds(invalid=False))
def test_valid_worlds_hold_nothing_that_compiles_to_nothing(state: ClusterState) -> None:
    compiled = compile_state(state)
    for entry in compiled.pods:
        for profile in (entry.egress, entry.ingress):
            for rule in profile.rules if profile else ():
                spec = state.policies[rule.ref.policy].spec
                written = (spec.egress if rule.ref.direction == "Egress" else spec.ingress)[rule.ref.index]
                assert len(rule.peers or ()) == len(written.peers)
                assert len(rule.ports or ()) == len(written.ports or ())


def test_scenarios_meet_every_outcome_and_every_way_to_miss() -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(scenarios())
    def draw(scenario) -> None:
        state, flows = scenario
        compiled = compile_state(state)
        for flow in flows:
            verdict = evaluate(compiled, flow)
            for side in (verdict.egress, verdict.ingress):
                seen[f"{side.direction} {side.reason.split(' by ')[0]}"] += 1
                seen.update(miss.part for miss in side.misses)

    draw()
    wanted = {
        f"{way} {what}"
        for way in ("Egress", "Ingress")
        for what in ("allowed", "isolated, and no rule allows it")
    }
    wanted |= {"Ingress own node", "Egress own address", "Egress not isolated"}
    wanted |= {"labels", "namespace", "peer", "family", "port", "protocol", "except"}
    assert wanted <= set(seen), wanted - set(seen)
