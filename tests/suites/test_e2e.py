"""The 48 upstream NetworkPolicy cases (kubernetes e2e "Netpol") on the engine and the reference, after every step."""

from __future__ import annotations

from itertools import permutations

import pytest

from stockade.model.meta import ObjectRef
from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.store.delta import apply
from stockade.store.state import ClusterState
from stockade.testing.ask import flow
from stockade.testing.conformance.case import Case, Denied, act
from stockade.testing.conformance.e2e import cases
from stockade.testing.conformance.world import ADDRESSES, World

PODS = [f"{space}/{name}" for space in "xyz" for name in "abc"]
CASES = cases(ADDRESSES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_upstream_case(case: Case) -> None:
    world = World(labelled=False)
    state = apply(ClusterState(), world.take_deltas())
    for number, step in enumerate(case.steps):
        for action in step.actions:
            act(world, action)
        state = apply(state, world.take_deltas())
        assert step.denied
        for probe, denied in step.denied.items():
            assert wrong(state, probe, denied) == [], f"step {number}"


def wrong(state: ClusterState, probe: str, denied: Denied) -> list[str]:
    compiled = compile_state(state)
    protocol, _, port = probe.partition(" ")
    found = []
    for source, destination in permutations(PODS, 2):
        ends = (ObjectRef(*end.split("/")) for end in (source, destination))
        answers = {
            evaluate(compiled, flow(source, destination, probe), misses=False).allowed,
            reference.allowed(state, *ends, protocol, int(port), 4),
        }
        if answers != {not denied(source, destination)}:
            found.append(f"{source}->{destination} {probe}: {answers}")
    return found


def test_every_row_of_the_upstream_table_is_here() -> None:
    assert [case.number for case in CASES] == list(range(1, 49))
