"""How much of the past is kept."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.history import History, Record
from stockade.lab.apiserver.registry import ApiError


def _record(revision: int, size: int = 10) -> Record:
    return Record(revision, "MODIFIED", {}, b"x" * size)


def test_the_newest_are_kept_and_the_others_expired():
    history = History(0, limit=10)
    for revision in range(1, 25):
        history.append(_record(revision))
    kept = history.since(10)
    assert [record.revision for record in kept] == list(range(11, 25))
    with pytest.raises(ApiError, match="too old"):
        history.since(9)


def test_large_records_are_fewer_and_one_larger_than_all_is_kept():
    history = History(0, limit=10, most=1000)
    for revision in range(1, 8):
        history.append(_record(revision, 300))
    newest = history.since(6)
    assert [record.revision for record in newest] == [7]
    with pytest.raises(ApiError):
        history.since(1)
    for revision in range(8, 12):
        history.append(_record(revision, 5000))
    assert [record.revision for record in history.since(10)] == [11]
