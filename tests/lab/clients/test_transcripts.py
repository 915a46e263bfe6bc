"""Real kubectl of many minors against one lab: what each command prints, its errors and its exit status, as ``transcripts`` tell.

All are played at once, each in its own namespace; the tests look at what came of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.testing import kubectls

from .transcript import parse

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
FOLDER = Path(__file__).parent / "transcripts"
WAITING = 2  # plays that wait for something while as many as there are processors work
Plays = dict[tuple[str, int], Future[list[str]]]


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, stage) -> Iterator[Plays]:
    """Every play that a selected test will ask for."""
    chosen = [
        (item.callspec.params["act"], item.callspec.params["minor"])
        for item in request.session.items
        if item.path == Path(__file__) and "act" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    with ThreadPoolExecutor((os.cpu_count() or 1) + WAITING) as pool:
        yield {
            (act, minor): pool.submit(play, stage, act, minor)
            for act, minor in chosen
            if kubectls.path_of(minor).exists()
        }


def play(stage, act: str, minor: int) -> list[str]:
    player = stage.player(minor, act)
    try:
        return player.play(parse((FOLDER / f"{act}.txt").read_text()))
    finally:
        stage.leave(player)


def test_transcript(plays, kubectl, act):
    wrong = plays[act, kubectl].result()
    assert not wrong, "\n".join(wrong)
