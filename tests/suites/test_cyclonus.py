"""Every case of the cyclonus suite, after every step, on the engine and on the reference, against a model of the suite's own."""

from __future__ import annotations

from collections import Counter

import pytest

from stockade.model.meta import ObjectRef
from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow, PodEndpoint
from stockade.store.delta import apply
from stockade.store.state import ClusterState
from stockade.testing.conformance.case import Case, act
from stockade.testing.conformance.cyclonus import SIZES, cases
from stockade.testing.conformance.truth import connects
from stockade.testing.conformance.world import ADDRESSES, World

CASES = cases(ADDRESSES)


def test_the_suite_is_complete():
    """Two cases are alike: with TCP 80 as the port to try, each direction's base policy stays as it is."""
    assert Counter(case.group for case in CASES) == SIZES
    assert len(CASES) == 230
    assert len({repr(case.steps) for case in CASES}) == len(CASES) - 1


def test_the_cases_are_not_trivial():
    """Many truth tables, not one with many names."""
    tables = set()
    for case in CASES:
        world = World()
        for step in case.steps:
            for action in step.actions:
                act(world, action)
        tables.add(tuple(connects(world, *flow) for flow in world.flows()))
    assert len(tables) > 80


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case):
    world = World()
    state = apply(ClusterState(), world.take_deltas())
    for number, step in enumerate(case.steps):
        for action in step.actions:
            act(world, action)
        state = apply(state, world.take_deltas())
        assert wrong(world, state) == [], f"step {number}"


def wrong(world: World, state: ClusterState) -> list[str]:
    compiled = compile_state(state)
    found = []
    for source, destination, protocol, port in world.flows():
        ends = ObjectRef(*source), ObjectRef(*destination)
        expected = connects(world, source, destination, protocol, port)
        flow = Flow(PodEndpoint(ends[0]), PodEndpoint(ends[1]), protocol, port)
        answers = (
            evaluate(compiled, flow, misses=False).allowed,
            reference.allowed(state, *ends, protocol, port, 4),
        )
        if answers != (expected, expected):
            found.append(f"{flow.source} -> {flow.destination} {protocol} {port}: {answers}, not {expected}")
    return found
