"""The four forms of a test run, read by what reads them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest
import yaml

from stockade.analysis.assertions import AssertionFile, judge
from stockade.analysis.path import prepare
from stockade.model.diagnostic import Position
from stockade.report.junit import junit
from stockade.report.outcomes import Row, data, tap, text_lines
from stockade.testing.worlds import recipe

TESTS = [
    {"name": "open # as \\ asked", "from": "pod/web", "to": "pod/test", "port": 1, "expect": "allowed"},
    {"name": "shut", "from": "pod/test", "to": "pod/web", "expect": "allowed"},
]


@pytest.fixture
def rows() -> list[Row]:
    file = msgspec.convert({"tests": TESTS}, AssertionFile)
    found = judge(prepare(recipe("deny-all")), file, "default")
    return [Row(outcome=each, position=Position("a.yaml", 3 + each.test, 1)) for each in found]


def observed(row: Row, kind: str) -> Row:
    return msgspec.structs.replace(row, observed=kind, seen="timed out")


def test_text(rows):
    lines = [text for _, text in text_lines(rows, live=False)]
    assert lines[0] == "ok    open # as \\ asked: pod/web → pod/test TCP 1"
    assert lines[1] == "FAIL  shut: pod/test → pod/web"
    assert lines[2].startswith("      expected allowed, is denied; pod default/test: ")
    assert lines[3:] == ["      at a.yaml:4:1", "2 checked, 1 failed"]


def test_three_columns(rows):
    lines = [text for _, text in text_lines([observed(rows[0], "allowed"), rows[1]], live=True)]
    assert lines[0].split() == ["EXPECTED", "DECIDED", "OBSERVED"]
    assert lines[1].split()[:4] == ["ok", "allowed", "allowed", "allowed"]
    assert lines[2].split()[:4] == ["FAIL", "allowed", "denied", "-"]


@pytest.mark.parametrize(
    ("decided", "seen", "ok"),
    [
        ("allowed", "allowed", True),
        ("allowed", "denied", False),
        ("allowed", "mixed", False),
        ("allowed", "", True),
        ("mixed", "denied", True),
    ],
)
def test_a_network_that_differs_from_what_was_decided_fails(rows, decided, seen, ok):
    outcome = msgspec.structs.replace(rows[0].outcome, decided=decided)
    row = observed(msgspec.structs.replace(rows[0], outcome=outcome), seen)
    assert row.ok is ok
    assert ("but observed" in row.complaint) is not ok


def test_json(rows):
    found = msgspec.json.decode(msgspec.json.encode(data([observed(rows[0], "allowed"), rows[1]])))
    assert (found["passed"], found["checked"], found["failed"]) == (False, 2, 1)
    assert found["results"][0]["observed"] == "allowed"
    assert "observed" not in found["results"][1]
    assert found["results"][1]["position"] == {"file": "a.yaml", "line": 4, "column": 1}


def test_tap(rows):
    lines = list(tap(rows))
    assert lines[:2] == ["TAP version 14", "1..2"]
    assert lines[2] == "ok 1 - open \\# as \\\\ asked: pod/web → pod/test TCP 1"
    assert lines[3].startswith("not ok 2 - shut")
    block = yaml.safe_load("\n".join(lines[5:-1]))
    assert block["at"] == "a.yaml:4:1"
    assert block["message"].startswith("expected allowed")


def test_junit(rows):
    name = "a\x00b <&>"
    outcome = msgspec.structs.replace(rows[1].outcome, name=name)
    root = ET.fromstring(junit([rows[0], msgspec.structs.replace(rows[1], outcome=outcome)]))
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("a.yaml", "2", "1")
    passed, failed = suite
    assert list(passed) == []
    assert failed.get("name").startswith("a\ufffdb <&>: ")
    assert failed[0].tag == "failure"
    assert failed[0].get("message").startswith("expected allowed")
