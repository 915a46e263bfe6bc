"""A short run of ``python -m stockade.testing.crashes``; the long one is said in docs/lab.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement
from stockade.testing.crashes import Crashes, report

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def test_labs_killed_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := missing_requirement():
        pytest.skip(reason)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = Crashes(LabPaths.of("crash-test"), seed=7).run(kills=10, seconds=60)
    assert not result.wrong, "\n".join(report(result))
    assert result.of_lab > 2
    assert result.acknowledged > 20
