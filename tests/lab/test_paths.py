"""A lab's name, its files and its lock."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths, is_running, running_labs, try_lock, wait_unlocked, write_private


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 33])
def test_a_name_that_is_no_directory_and_no_hostname_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lab name"):
        LabPaths.of(name)


def test_directories_are_private() -> None:
    paths = LabPaths.of("a")
    paths.make()
    for directory in (paths.directory, paths.pods, paths.pki):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_private_files_replace_what_was_there_and_follow_no_link(tmp_path: Path) -> None:
    target, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / "file.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        write_private(target, "secret")
    assert victim.read_text() == "safe"
    (tmp_path / "file.new").unlink()
    write_private(target, "secret")
    assert target.read_text() == "secret"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_name_is_taken_as_long_as_the_lock_is_held() -> None:
    paths = LabPaths.of("a")
    paths.make()
    assert not is_running(paths)
    held = try_lock(paths.lock)
    assert held is not None
    assert try_lock(paths.lock) is None
    assert is_running(paths)
    assert running_labs() == ["a"]
    assert not wait_unlocked(paths, 0.05)
    os.close(held)
    assert wait_unlocked(paths, 0.05)
    assert running_labs() == []
