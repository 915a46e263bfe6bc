# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH115, PTH208, PTH211
# Every pod starts with these calls: plain ones cost a third of those of pathlib.
"""Puts a volume's files into its directory so that a reader sees either all of the old ones or all of the new ones.

    config/..2026_11_23_10_00_00.a1b2c3/key     the files
    config/..data -> ..2026_11_23_10_00_00.a1b2c3    swapped by rename
    config/key -> ..data/key                    what the container opens
In: a directory that no pod can write to (such volumes are mounted read-only), the files. Layout: kubelet's AtomicWriter, which programs that
wait for changes know. Called by ``pod_volumes``. Nothing is followed: every name is made anew inside directories of our own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from typing import Final

from stockade.lab.node.volumes.content import File

DATA: Final = "..data"
_FRESH: Final = "..data_tmp"
_GROUP_READS: Final = 0o440
_DIRECTORY: Final = 0o755
_DIRECTORY_OF_GROUP: Final = 0o2755


def write(directory: str, files: Mapping[str, File], group: int | None) -> None:
    """``group`` (fsGroup) owns the files and may read them."""
    before = _current(directory)
    name = f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.token_hex(5)}"
    _fill(f"{directory}/{name}", files, group)
    os.symlink(name, f"{directory}/{_FRESH}")
    os.rename(f"{directory}/{_FRESH}", f"{directory}/{DATA}")
    _link(directory, {path.split("/", 1)[0] for path in files})
    if before:
        shutil.rmtree(f"{directory}/{before}", ignore_errors=True)


def _current(directory: str) -> str:
    try:
        return os.readlink(f"{directory}/{DATA}")
    except FileNotFoundError:
        return ""


def _fill(place: str, files: Mapping[str, File], group: int | None) -> None:
    _make(place, group)
    made = {""}
    for path, file in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            inner = "/".join(parts[:depth])
            if inner not in made:
                made.add(inner)
                _make(f"{place}/{inner}", group)
        fd = os.open(
            f"{place}/{path}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(fd, file.data)
            if file.uid or group is not None:
                os.fchown(fd, file.uid, -1 if group is None else group)
            os.fchmod(fd, file.mode if group is None else file.mode | _GROUP_READS)
        finally:
            os.close(fd)


def _make(directory: str, group: int | None) -> None:
    os.mkdir(directory)
    if group is not None:
        os.chown(directory, -1, group)
    os.chmod(directory, _DIRECTORY if group is None else _DIRECTORY_OF_GROUP)


def _link(directory: str, names: set[str]) -> None:
    """One link for each name, none for what is no more."""
    held = {name for name in os.listdir(directory) if not name.startswith("..")}
    for name in names - held:
        os.symlink(f"{DATA}/{name}", f"{directory}/{name}")
    for name in held - names:
        os.unlink(f"{directory}/{name}")
