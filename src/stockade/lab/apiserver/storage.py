"""Objects on disk: one SQLite file, written through on every change, read once at start.

``ObjectStore`` (store.py) is the only caller; it keeps the current objects in memory and asks this module only to make
them durable. Each write is one transaction that also stores the new revision, so a restart never reuses one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 0);
"""
PUT = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)"
DELETE = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"


class Storage:
    """``path`` None keeps everything in memory. Write-ahead log without a sync per commit: a killed daemon loses
    nothing, a crashed machine at most the last moments, and a lab does not outlive its machine anyway."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def revision(self) -> int:
        """The last revision given out."""
        return int(self._db.execute("SELECT value FROM revision").fetchone()[0])

    def load(self) -> Iterator[tuple[str, str, str, bytes]]:
        """(resource, namespace, name, JSON) of every object."""
        yield from self._db.execute("SELECT resource, namespace, name, body FROM objects")

    def put(self, revision: int, key: tuple[str, str, str], body: bytes) -> None:
        self._write(revision, PUT, (*key, body))

    def delete(self, revision: int, key: tuple[str, str, str]) -> None:
        self._write(revision, DELETE, key)

    def close(self) -> None:
        self._db.close()

    def _write(self, revision: int, statement: str, values: tuple[str | bytes, ...]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(statement, values)
            self._db.execute("UPDATE revision SET value = ?", (revision,))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
