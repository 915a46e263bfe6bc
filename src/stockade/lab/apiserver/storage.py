"""Objects on disk: one SQLite file, written through on every change, read once at start.

``ObjectStore`` (store.py) is the only caller; it keeps the current objects in memory and asks this module only to make
them durable. Each write is one transaction that also stores the new revision, so a restart never reuses one; it returns
before the change is in the index, in a watch or in an answer. So whatever anybody was told survives the end of this process,
``kill -9`` included. A power cut is another matter: the file stays whole, but the last moments may be missing, as nothing
is synced to the disk per write. Rules: sqlite.org/wal.html, pragma.html (synchronous, user_version, application_id).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from stockade.lab.apiserver.checkpoints import Checkpointer
from stockade.lab.apiserver.failures import failure

VERSION = 1
"""Of the tables below; raised when an older Stockade could not read them any more."""
APPLICATION_ID = 0x53544B44  # "STKD": what file(1) and we know the file by
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 0);
"""
PUT = (
    "INSERT INTO objects VALUES (?, ?, ?, ?) "
    "ON CONFLICT (resource, namespace, name) DO UPDATE SET body = excluded.body"
)
DELETE = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"


_CIRCUMSTANCES = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


class StorageError(Exception):
    """The file cannot be used; the text says why. ``for_good``: nor will it be, by us."""

    def __init__(self, text: str, *, for_good: bool = True) -> None:
        super().__init__(text)
        self.for_good = for_good


class Storage:
    """``path`` None keeps everything in memory. Raises StorageError for a file that is damaged, or not ours, or of a later version."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._checkpointer: Checkpointer | None = None
        self._grouped = False
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        try:
            with self._as_storage_error():
                self._open()
        except StorageError:
            self._db.close()
            raise
        if path is not None:
            self._checkpointer = Checkpointer(path)

    def revision(self) -> int:
        """The last revision given out."""
        return int(self._db.execute("SELECT value FROM revision").fetchone()[0])

    def load(self) -> Iterator[tuple[str, str, str, bytes]]:
        """(resource, namespace, name, JSON) of every object. Raises StorageError."""
        with self._as_storage_error():
            yield from self._db.execute("SELECT resource, namespace, name, body FROM objects")

    def put(self, revision: int, key: tuple[str, str, str], body: bytes) -> None:
        """Raises ApiError (500) when the file cannot be written (disk full); nothing is changed then."""
        self._write(revision, PUT, (*key, body))

    def delete(self, revision: int, key: tuple[str, str, str]) -> None:
        """Raises ApiError, see ``put``."""
        self._write(revision, DELETE, key)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """The writes inside are one transaction: all or none survive. For start-up, when nobody is told anything yet."""
        self._db.execute("BEGIN IMMEDIATE")
        self._grouped = True
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        else:
            self._db.execute("COMMIT")
        finally:
            self._grouped = False

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        self._db.close()

    def _open(self) -> None:
        application = int(self._db.execute("PRAGMA application_id").fetchone()[0])
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if application not in (0, APPLICATION_ID):
            raise StorageError(f"{self._path} is a database of another program")
        if version > VERSION:
            text = f"{self._path} was written by a later version of Stockade (format {version}; this one knows {VERSION})"
            raise StorageError(text)
        if version:
            self._check()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        if version < VERSION:
            numbers = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {numbers} COMMIT;")

    def _check(self) -> None:
        """A crash of the process does not damage the file; disks and people do."""
        problem = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if problem != "ok":
            raise StorageError(f"{self._path} is damaged: {problem}")
        if self._db.execute("SELECT value FROM revision").fetchone() is None:
            raise StorageError(f"{self._path} is damaged: it has no revision")

    @contextlib.contextmanager
    def _as_storage_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _CIRCUMSTANCES:
                raise StorageError(f"{self._path} cannot be opened: {error}", for_good=False) from error
            raise StorageError(f"{self._path} is damaged: {error}") from error

    def _write(self, revision: int, statement: str, values: tuple[str | bytes, ...]) -> None:
        try:
            if not self._grouped:
                self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(statement, values)
            self._db.execute("UPDATE revision SET value = ?", (revision,))
            if not self._grouped:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise failure(500, "InternalError", f"the lab's objects cannot be written: {error}") from error
        if self._checkpointer is not None:
            self._checkpointer.wrote()

    def _roll_back(self) -> None:
        """Some errors roll back by themselves."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
