"""docs/semantics.md cannot rot: every rule has its row, every test in it exists, and every test named after a rule is in its row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "semantics.md").read_text()
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::([\w*]+)`")
ROWS = {int(number): NAMED.findall(tests) for number, _, tests in ROW.findall(PAGE)}


@cache
def collected(file: str) -> frozenset[str]:
    """Tests that pytest finds in a file: functions of the module by its default naming."""
    path = TESTS / file
    assert path.name.startswith("test_"), f"pytest does not collect {file}"
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions)]
    return frozenset(name for name in names if name.startswith("test_"))


def test_every_rule_has_one_row_with_tests():
    assert [int(number) for number, *_ in ROW.findall(PAGE)] == list(range(1, 61))
    assert [number for number, tests in ROWS.items() if not tests] == []


def test_every_test_that_is_named_exists():
    named = {pair for tests in ROWS.values() for pair in tests}
    missing = [
        f"{file}::{name}" for file, name in named if not any(fnmatchcase(n, name) for n in collected(file))
    ]
    assert missing == []
    files = re.findall(r"`tests/([\w/.]+\.py)`", PAGE)
    assert files
    assert [file for file in files if not (TESTS / file).is_file()] == []


def numbered() -> Iterator[tuple[int, str, str]]:
    """Rule, file and name of every test that is named after a rule."""
    for path in TESTS.rglob("test_*.py"):
        file = path.relative_to(TESTS).as_posix()
        for name in collected(file):
            numbers = re.match(r"test_rules?((?:_\d+)+)_", name)
            yield from (
                (int(number), file, name) for number in (numbers[1].split("_")[1:] if numbers else ())
            )


def test_every_test_with_a_rules_number_is_in_its_row():
    missing = [
        f"rule {number}: {file}::{name}"
        for number, file, name in numbered()
        if not any(listed == file and fnmatchcase(name, pattern) for listed, pattern in ROWS[number])
    ]
    assert missing == []
