"""What the database file keeps, refuses and survives."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.storage import VERSION, Storage, StorageError
from stockade.lab.apiserver.store import ObjectStore

KEY = ("configmaps", "default", "a")


def test_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    storage = Storage(path)
    storage.put(1, KEY, b"{}")
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()} == {0o600}
    storage.close()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "objects.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Storage(tmp_path / "objects.db")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def _fail_halfway(storage: Storage) -> None:
    with storage.together():
        storage.put(1, KEY, b"{}")
        raise ZeroDivisionError


def test_together_is_all_or_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "objects.db")
    with pytest.raises(ZeroDivisionError):
        _fail_halfway(storage)
    assert (list(storage.load()), storage.revision()) == ([], 0)
    with storage.together():
        storage.put(1, KEY, b"{}")
        storage.put(2, KEY, b"[]")
    storage.close()
    again = Storage(tmp_path / "objects.db")
    assert (list(again.load()), again.revision()) == ([(*KEY, b"[]")], 2)
    again.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (f"PRAGMA user_version = {VERSION + 1}", f"a later version of Stockade (format {VERSION + 1};"),
        ("PRAGMA application_id = 7", "is a database of another program"),
        ("DELETE FROM revision", "is damaged: it has no revision"),
        ("DROP TABLE revision", "is damaged: no such table: revision"),
    ],
)
def test_what_is_refused(tmp_path: Path, statement: str, why: str) -> None:
    path = tmp_path / "objects.db"
    Storage(path).close()
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    before = path.read_bytes()
    with pytest.raises(StorageError) as error:
        Storage(path)
    assert why in str(error.value)
    assert str(path) in str(error.value)
    assert error.value.for_good
    assert path.read_bytes() == before, "what is refused is left as it is"


@pytest.mark.parametrize("place", [0, 30, 4096 + 200])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "objects.db"
    storage = Storage(path)
    for number in range(200):
        storage.put(number + 1, ("configmaps", "default", str(number)), b"x" * 500)
    storage.close()
    data = bytearray(path.read_bytes())
    for page in range(place, len(data), 4096):
        data[page : page + 60] = b"\xff" * 60
    path.write_bytes(data)
    with pytest.raises(StorageError, match="is damaged"):
        Storage(path)


def test_what_may_work_later_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    Storage(path).close()
    Path(f"{path}-wal").mkdir()
    with pytest.raises(StorageError, match="cannot be opened") as error:
        Storage(path)
    assert not error.value.for_good


def test_a_full_disk_refuses_the_write_and_changes_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "objects.db")
    store = ObjectStore(storage)
    store.create("namespaces", "", {"metadata": {"name": "default"}})
    revision = store.revision
    storage._db.execute("PRAGMA max_page_count = 10")  # the same error as a full disk gives
    big = {"metadata": {"name": "big"}, "data": {"text": "x" * 200_000}}
    with pytest.raises(ApiError) as error:
        store.create("configmaps", "default", big)
    assert error.value.code == 500
    assert "the lab's objects cannot be written: database or disk is full" in str(error.value)
    assert (store.revision, store.find("configmaps", "default", "big")) == (revision, None)
    store.create("configmaps", "default", {"metadata": {"name": "small"}})
    assert store.revision == revision + 1
    store.close()


def test_the_log_of_many_writes_stays_short(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "objects.db")
    for number in range(1, 12_001):
        storage.put(number, ("configmaps", "default", str(number % 50)), b"x" * 3000)
    deadline = time.monotonic() + 30
    number = 12_000
    while (tmp_path / "objects.db").stat().st_size < 50 * 3000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / "objects.db").stat().st_size >= 50 * 3000, "moved to the file"
    assert (tmp_path / "objects.db-wal").stat().st_size < 80 * 2**20
    storage.close()
    assert not (tmp_path / "objects.db-wal").exists()
    again = Storage(tmp_path / "objects.db")
    assert again.revision() == number
    again.close()


WRITER = """
import sys
from pathlib import Path
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore
store = ObjectStore(Storage(Path(sys.argv[1])))
if not store.revision:
    store.create("namespaces", "", {"metadata": {"name": "default"}})
number = 0
while True:
    number += 1
    name = f"c{number % 20}"
    if store.find("configmaps", "default", name):
        store.delete("configmaps", "default", name)
        sys.stdout.write(f"{store.revision} {name} -\\n")
    else:
        made = store.create("configmaps", "default", {"metadata": {"name": name}, "data": {"n": "x" * number}})
        sys.stdout.write(f"{store.revision} {name} {made['metadata']['uid']}\\n")
    sys.stdout.flush()
"""


def test_a_killed_writer_loses_nothing_it_told(tmp_path: Path) -> None:
    """Twenty times at random moments; what was told is what the next one finds, and no revision is given out twice."""
    path = tmp_path / "objects.db"
    told = 0
    chance = random.Random(1)
    for _ in range(20):
        # A file takes all that was told; a pipe would hold the writer back.
        with (tmp_path / "told").open("wb") as output:
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=output)
        deadline = time.monotonic() + 30
        while not (tmp_path / "told").stat().st_size and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        lines = (tmp_path / "told").read_text().splitlines()
        assert lines
        store = ObjectStore(Storage(path))
        assert int(lines[0].split()[0]) > told
        revision, name, uid = lines[-1].split()
        told = int(revision)
        assert store.revision in (told, told + 1)  # one more write may have been under way
        if store.revision == told:
            held = store.find("configmaps", "default", name)
            assert (held["metadata"]["uid"] if held else "-") == uid
        store.close()
