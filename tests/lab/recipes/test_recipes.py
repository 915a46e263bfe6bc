"""The recipes (reference: semantics 6), played as a person would by real kubectl, the oldest and the newest side by side: every line that must
be printed, every connection that must be allowed or denied. The same files are what ``stockade demo`` plays.
"""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from stockade.lab.demo.play import Player
from stockade.lab.demo.recipes import RECIPES

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipe(stages, recipe) -> None:
    """Most of the time is waiting for timeouts: the clients wait at the same time, each in a lab of its own."""
    with ThreadPoolExecutor(len(stages)) as pool:
        played = [pool.submit(play, stage, recipe) for stage in stages]
    assert [future.result() for future in played] == [[]] * len(stages)


def test_the_oldest_kubectl_took_part(stages) -> None:
    if len(stages) < 2:
        pytest.skip("kubectl 1.20 is not there: scripts/setup unpacks it where Debian has the package")
    versions = [stage.run("version", "--client", "-o", "json") for stage in stages]
    assert [json.loads(text)["clientVersion"]["minor"] for text in versions] == ["37", "20"]


def play(stage, recipe) -> list[str]:
    """What went wrong; nothing, when all is as the recipe says."""
    shown = io.StringIO()
    player = Player(recipe, Console(file=shown, width=160), kubectl=str(stage.kubectl), lab=stage.lab)
    try:
        player.play("in a lab of all recipes")
        tried = [(outcome.check.tried, outcome.allowed) for outcome in player.outcomes]
        checks = [step.check for step in recipe.steps if getattr(step, "check", None)]
        wanted = [(check.tried, check.allowed) for check in checks]
        wrong = [*player.failures, *([f"tried: {tried}"] if tried != wanted else []), *left_behind(stage)]
    finally:
        stage.clean()
    return [f"{stage.kubectl}: {text}" for text in wrong] + ([shown.getvalue()] if wrong else [])


def left_behind(stage) -> list[str]:
    """The pages end with everything removed. A shell that kubectl deleted without waiting may still be on its way."""
    text = stage.run("get", "pods,services,networkpolicies", "-n", "default", "-o", "json")
    found = [obj for obj in json.loads(text)["items"] if "deletionTimestamp" not in obj["metadata"]]
    named = {f"{obj['kind']}/{obj['metadata']['name']}" for obj in found} - {"Service/kubernetes"}
    return [f"left behind: {', '.join(sorted(named))}"] if named else []
