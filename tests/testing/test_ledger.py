"""What counts as lost, and what may be either way."""

from __future__ import annotations

import pytest

from stockade.testing.ledger import Fact, Ledger

OLD = Fact(5, "u1", "1")


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.begin("a", "1")
    made.acknowledge("a", OLD)
    return made


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (OLD, False),
        (None, True),  # lost
        (Fact(4, "u1", "1"), True),  # an older revision of it
        (Fact(6, "u1", "1"), True),  # nobody wrote it
        (Fact(5, "u2", "1"), True),  # another object
        (Fact(5, "u1", "0"), True),  # the value of before
    ],
)
def test_an_acknowledged_write(ledger, found, wrong) -> None:
    assert bool(ledger.compare({"a": found} if found else {}, 6)) is wrong


@pytest.mark.parametrize(
    ("value", "found", "wrong"),
    [
        ("2", OLD, False),  # did not happen
        ("2", Fact(6, "u1", "2"), False),  # did
        ("2", Fact(5, "u1", "2"), True),  # a revision twice
        ("2", Fact(6, "u2", "2"), True),
        ("2", Fact(6, "u1", "3"), True),
        ("2", None, True),
        (None, OLD, False),
        (None, None, False),
        (None, Fact(6, "u1", "2"), True),
    ],
)
def test_a_write_under_way(ledger, value, found, wrong) -> None:
    ledger.begin("a", value)
    assert bool(ledger.compare({"a": found} if found else {}, 6)) is wrong


def test_what_a_watch_showed_is_not_open_any_more(ledger) -> None:
    ledger.begin("a", "2")
    ledger.learn("a", Fact(6, "u1", "2"))
    assert ledger.compare({"a": OLD}, 6)


def test_a_deletion_that_was_acknowledged_stays(ledger) -> None:
    ledger.begin("a", None)
    ledger.acknowledge("a", Fact(6))
    assert ledger.compare({"a": OLD}, 6)
    assert not ledger.compare({"a": OLD}, 6), "from now on it is what it is"


def test_revisions_go_on(ledger) -> None:
    assert ledger.compare({"a": OLD}, 4) == ["revision 4 is older than 5, which was given out"]


def test_objects_that_others_change_too() -> None:
    ledger = Ledger(moving=True)
    ledger.begin("pod", "1")
    ledger.acknowledge("pod", OLD)
    assert not ledger.compare({"pod": Fact(9, "u1", "1")}, 9)
    assert ledger.compare({"pod": Fact(8, "u1", "1")}, 9)
