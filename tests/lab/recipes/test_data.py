"""The recipes as data: complete, told apart, and understood by the lines' notation."""

from __future__ import annotations

import pytest

from stockade.lab.demo import expected
from stockade.lab.demo.recipes import RECIPES, by_name
from stockade.lab.demo.steps import Leave, Save, Shell


def test_all_fifteen_are_there_in_the_order_of_the_collection() -> None:
    numbers = [recipe.number for recipe in RECIPES]
    assert " ".join(numbers) == "01 02 02a 03 04 05 06 07 08 09 10 11 11 12 14"
    assert len({recipe.name for recipe in RECIPES}) == 15


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_shell_is_left_and_something_is_tried(recipe) -> None:
    opened = 0
    for step in recipe.steps:
        opened += isinstance(step, Shell) - isinstance(step, Leave)
        assert opened in (0, 1)
    assert opened == 0
    assert [step for step in recipe.steps if getattr(step, "check", None)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_file_applied_was_saved(recipe) -> None:
    saved = set()
    for step in recipe.steps:
        if isinstance(step, Save):
            saved.add(step.name)
        elif getattr(step, "line", "").startswith("kubectl apply"):
            assert step.line.split()[-1] in saved


def test_names_and_numbers() -> None:
    assert by_name("1").name == by_name("01").name == "deny-all-to-app"
    assert by_name("2a").name == "allow-all-to-app"
    assert by_name("11").name == "deny-egress"
    assert by_name("deny-egress-allow-dns").number == "11"
    assert by_name("13") is None


@pytest.mark.parametrize(
    ("prints", "text", "fits"),
    [
        (("a", "b"), "b\na\n", True),
        (("a",), "a\nb", False),
        (("a", "..."), "a\nb", True),
        (("a", "a"), "a", False),
        (("db ({ip}:6379) open",), "db (10.96.0.7:6379) open", True),
        (("db ({ip}:6379) open",), "db (x:6379) open", False),
        (('pod "web" deleted{from}',), 'pod "web" deleted', True),
        (('pod "web" deleted{from}',), 'pod "web" deleted from default namespace', True),
        ((), "", True),
        ((), "anything", False),
    ],
)
def test_notation(prints, text, fits) -> None:
    assert (expected.difference(prints, text) == "") is fits
