"""The program behind ``/proc/PID/exe`` of what enters a container: executable, and out of everybody's reach."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from stockade.lab import interpreter


@pytest.fixture(params=["mount", "copy"])
def program(request, tmp_path, monkeypatch):
    if request.param == "mount" and os.geteuid() != 0:
        pytest.skip("only root may mount")
    if request.param == "copy":
        monkeypatch.setattr(interpreter, "_OPEN_TREE", 100_000)  # no such system call: an older kernel
    original = tmp_path / "program"
    shutil.copy(shutil.which("cat"), original)
    fd = interpreter.open_read_only(str(original))
    yield original, fd
    os.close(fd)


def test_it_runs_and_cannot_be_changed(program) -> None:
    original, fd = program
    before = original.read_bytes(), original.stat().st_mode
    path = f"/proc/self/fd/{fd}"
    done = subprocess.run(
        ["cat"], executable=path, pass_fds=(fd,), input=b"runs", capture_output=True, check=True
    )
    assert done.stdout == b"runs"
    refused = 0
    for change in (lambda: os.chmod(path, 0o4777), lambda: os.truncate(path, 0)):  # noqa: PTH101
        try:
            change()
        except OSError:
            refused += 1
    assert refused >= 1  # the copy's mode may change: it is a file in memory
    assert (original.read_bytes(), original.stat().st_mode) == before


def test_what_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        interpreter.open_read_only(str(tmp_path / "nothing"))
