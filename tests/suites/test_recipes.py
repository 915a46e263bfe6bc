"""Each recipe's checks, by the whole path (lookup, Service, connection), and each connection once more on the reference."""

from __future__ import annotations

import pytest
from recipes import CONNECT, LOOKUP, OPEN, RECIPES, Recipe, cluster

from stockade.analysis.path import trace
from stockade.analysis.steps import PathQuery
from stockade.policy import reference
from stockade.policy.verdict import Flow
from stockade.store.state import ClusterState
from stockade.testing.ask import allowed, end
from stockade.testing.sampling import who

HOSTS = {"www.example.com": "93.184.216.34"}


def outcome(state: ClusterState, source: str, target: str) -> str:
    if source[0].isdigit():
        name, _, port = target.partition(":")
        return OPEN if allowed(state, source, name, f"TCP {port}") else CONNECT
    found = trace(state, PathQuery(end(source).ref, target, HOSTS))
    for step in found.steps:
        for attempt in step.attempts:
            confirm(state, attempt.flow, decided=attempt.allowed)
    return OPEN if found.failed is None else found.steps[found.failed].kind


def confirm(state: ClusterState, flow: Flow, *, decided: bool) -> None:
    asked = who(flow.source), who(flow.destination), flow.protocol, flow.port, flow.family
    assert reference.allowed(state, *asked) is decided


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.id for recipe in RECIPES])
def test_recipe(recipe: Recipe):
    state = ClusterState.of([*cluster(), *recipe.setup, *recipe.policies])
    found = [(source, target, outcome(state, source, target)) for source, target, _ in recipe.checks]
    assert found == recipe.checks


def test_every_recipe_is_here():
    numbers = {recipe.id.split()[0] for recipe in RECIPES}
    assert numbers == {f"{n:02}" for n in (*range(1, 13), 14)} | {"02a"}
    assert {step for recipe in RECIPES for *_, step in recipe.checks} == {OPEN, LOOKUP, CONNECT}
