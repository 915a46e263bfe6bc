"""How a lab was started is remembered, privately; what cannot be read is said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stockade.lab import settings
from stockade.lab.paths import LabPaths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = LabPaths.of("lab")
    made.make()
    return made


def test_round_trip(paths: LabPaths) -> None:
    assert settings.read(paths) is None
    wanted = settings.Settings(3, "dual", 6443)
    settings.write(paths, wanted)
    assert settings.read(paths) == wanted
    assert stat.S_IMODE(paths.settings.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", '{"nodes":"many"}', "[]", '{"nodes":1}'])
def test_what_cannot_be_read(paths: LabPaths, text: str) -> None:
    paths.settings.write_text(text)
    with pytest.raises(ValueError, match=r"lab\.json cannot be read"):
        settings.read(paths)
