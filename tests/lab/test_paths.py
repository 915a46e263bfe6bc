"""A lab's files: whose they must be before anything in them is believed."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli
from stockade.lab.paths import (
    LabPaths,
    UnsafeStateError,
    is_running,
    make_state_root,
    remove_lock,
    running_labs,
    take_lock,
    try_lock,
    wait_unlocked,
    write_private,
)


@pytest.fixture
def paths(tmp_path, monkeypatch) -> LabPaths:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return LabPaths.of("t1")


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "-a", "a" * 33, "a\n", "a;b", "/etc"])
def test_a_name_that_would_lead_elsewhere(name) -> None:
    with pytest.raises(ValueError, match="must be at most 32"):
        LabPaths.of(name)


def test_directories_are_private_even_where_they_were_not(paths) -> None:
    paths.directory.mkdir(parents=True, mode=0o755)
    paths.make()
    for directory in (paths.root, paths.root / "labs", paths.directory, paths.pods, paths.pki):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory


@pytest.mark.parametrize("which", ["root", "labs", "directory"])
def test_a_link_in_the_way(paths, tmp_path, which) -> None:
    """Whoever laid it would own the credentials of the next lab."""
    place = {"root": paths.root, "labs": paths.root / "labs", "directory": paths.directory}[which]
    place.parent.mkdir(parents=True)
    (tmp_path / "theirs").mkdir()
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(UnsafeStateError, match="no directory of its own"):
        paths.make()
    with pytest.raises(UnsafeStateError, match="no directory of its own"):
        paths.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory(paths) -> None:
    paths.directory.mkdir(parents=True)
    (paths.directory / "pid").write_text("1\n")
    os.chown(paths.directory, 65534, 65534)
    result = CliRunner().invoke(cli, ["down", "--name", "t1"])
    assert result.exit_code == 2
    assert "belongs to user 65534" in result.output
    with pytest.raises(UnsafeStateError, match="belongs to user 65534"):
        paths.make()


def test_a_state_home_that_everybody_may_write(paths) -> None:
    paths.root.parent.mkdir()
    paths.root.parent.chmod(0o777)
    with pytest.raises(UnsafeStateError, match="writable by everybody"):
        make_state_root()
    paths.root.parent.chmod(0o1777)  # as /tmp: what is ours there stays ours
    assert make_state_root() == paths.root


def test_lock_and_private_files_follow_no_link(paths, tmp_path) -> None:
    paths.make()
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    paths.lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        try_lock(paths.lock)
    paths.pid.symlink_to(victim)
    write_private(paths.pid, "1\n")
    assert victim.read_text() == "theirs"
    assert not paths.pid.is_symlink()
    assert stat.S_IMODE(paths.pid.stat().st_mode) == 0o600


def test_stray_files_among_the_labs_are_no_labs(paths) -> None:
    paths.make()
    (paths.root / "labs" / ".Stray").mkdir()
    assert running_labs() == []


def test_a_name_is_taken_as_long_as_the_lock_is_held(paths) -> None:
    paths.make()
    assert not is_running(paths)
    held = try_lock(paths.lock)
    assert held is not None
    assert try_lock(paths.lock) is None
    assert is_running(paths)
    assert not wait_unlocked(paths, 0.05)
    os.close(held)
    assert wait_unlocked(paths, 0.05)


def test_who_only_looks_does_not_get_in_the_way(paths) -> None:
    paths.make()
    looking = try_lock(paths.lock)
    threading.Timer(0.03, os.close, [looking]).start()
    held = take_lock(paths.lock)
    assert held is not None
    assert take_lock(paths.lock) is None
    os.close(held)


def test_a_lock_file_that_goes_is_no_lock(paths, monkeypatch) -> None:
    """Who opened it before, and locks it after, must not think that the name is its own."""
    paths.make()
    held = try_lock(paths.lock)
    remove_lock(paths.lock)
    assert paths.lock.exists(), "somebody holds it"
    really = os.open
    turns = iter([True, False])

    def opened_just_before(path: Path, *arguments: int) -> int:
        descriptor = really(path, *arguments)
        if next(turns, False):
            os.close(held)
            paths.lock.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", opened_just_before)
    ours = try_lock(paths.lock)
    monkeypatch.undo()
    assert ours is not None
    assert os.path.samestat(os.fstat(ours), paths.lock.stat())
    os.close(ours)
    remove_lock(paths.lock)
    remove_lock(paths.lock)
    assert not paths.lock.exists()


def test_what_a_crash_leaves_is_swept(paths) -> None:
    paths.make()
    for path in (paths.pid, paths.settings, paths.database, paths.log):
        path.touch()
    for path in (paths.gate(1), paths.gate(2)):
        os.mknod(path, 0o600 | stat.S_IFSOCK)
    paths.sweep()
    assert {path.name for path in paths.directory.iterdir() if not path.is_dir()} == {
        "lab.json",
        "objects.db",
        "daemon.log",
    }
    Path(f"{paths.database}-wal").touch()
    paths.forget()
    assert [path.name for path in paths.directory.iterdir() if path.is_file()] == ["daemon.log"]


def test_a_directory_too_long_for_sockets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 80)))
    monkeypatch.setattr("stockade.cli.up.missing_requirement", lambda: None)
    done = CliRunner().invoke(cli, ["up", "--name", "t1"])
    assert done.exit_code == 2
    assert "is too long for the sockets in it; choose a shorter --name" in done.output
    assert not (tmp_path / ("x" * 80)).exists()


def test_all_labs(paths) -> None:
    """Also those that do not run; a name beside --all is refused, one of the environment is only a default."""
    done = CliRunner().invoke(cli, ["down", "--all"])
    assert (done.exit_code, done.output) == (0, "there is no lab\n")
    paths.make()
    lines = CliRunner().invoke(cli, ["status", "--all"], env={"STOCKADE_LAB": "other"}).output.splitlines()
    assert lines == ["NAME  STATE        PID  MEMORY  KUBECONFIG", "t1    not running  -    -       -"]
    for command in ("down", "status"):
        done = CliRunner().invoke(cli, [command, "--all", "--name", "t1"])
        assert done.exit_code == 2
        assert "give --name or --all, not both" in done.output
    done = CliRunner().invoke(cli, ["down", "--all"], env={"STOCKADE_LAB": "other"})
    assert (done.exit_code, done.output) == (0, "lab 't1' is gone\n")
    assert not paths.directory.exists()
