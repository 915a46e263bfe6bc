"""Real kubectl of many minors against one lab: what each command prints, its errors and its exit status, as ``transcripts`` tell.

All are played at once, each in its own namespace (``plays``); the tests look at what came of theirs.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("clients"), pytest.mark.timeout(1800)]


def test_transcript(plays, kubectl, act):
    wrong = plays[act, kubectl].result()
    assert not wrong, "\n".join(wrong)
