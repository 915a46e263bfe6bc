"""Files of a volume are swapped all at once, and nothing of the old ones stays."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from stockade.lab.node.volumes import writer
from stockade.lab.node.volumes.content import File


def visible(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for name in sorted(place.iterdir())
        if not name.name.startswith("..")
        for path in ([name] if name.is_file() else name.rglob("*"))
        if path.is_file()
    }


def _content(directory: int, name: str) -> bytes:
    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
        return file.read()


def test_layout_and_replacement(tmp_path: Path) -> None:
    writer.write(str(tmp_path), {"a": File(b"1"), "d/x": File(b"2", 0o600), "d/e/y": File(b"3")}, None)
    assert visible(tmp_path) == {"a": b"1", "d/x": b"2", "d/e/y": b"3"}
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert stat.S_IMODE((tmp_path / "d/x").stat().st_mode) == 0o600
    before = (tmp_path / "..data").readlink()
    writer.write(str(tmp_path), {"b": File(b"9")}, None)
    assert visible(tmp_path) == {"b": b"9"}
    assert not (tmp_path / before).exists()
    assert len(list(tmp_path.iterdir())) == 3  # ..data, what it names, b


def test_a_reader_never_sees_half_a_change(tmp_path: Path) -> None:
    """All values of one directory, opened by its name, are of one write."""

    def version(number: int) -> dict[str, File]:
        return {name: File(str(number).encode()) for name in "abcdef"}

    writer.write(str(tmp_path), version(0), None)
    mixed, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                data = os.open(tmp_path / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # what the link named was removed before it was opened
                if not os.path.lexists(tmp_path / "..data"):
                    mixed.append("gone")
                continue
            try:
                found = {_content(data, name) for name in "abcdef"}
                if len(found) != 1:
                    mixed.append(str(found))
            except FileNotFoundError:
                pass  # the old directory is being removed: a reader opens ..data again
            finally:
                os.close(data)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 200):
        writer.write(str(tmp_path), version(number), None)
    done.set()
    reader.join()
    assert mixed == []


def test_group_reads(tmp_path: Path) -> None:
    group = os.getgid()
    writer.write(str(tmp_path), {"d/x": File(b"2", 0o400)}, group)
    info = (tmp_path / "d/x").stat()
    assert (info.st_gid, stat.S_IMODE(info.st_mode)) == (group, 0o440)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) & 0o2070 == 0o2050
