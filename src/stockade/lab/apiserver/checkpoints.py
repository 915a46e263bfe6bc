"""Moves what was committed from SQLite's write-ahead log into the database file, beside the event loop.

SQLite does it by itself every thousand pages, in the middle of a commit, and waits for the disk: 10 to 40 ms (measured) in which
the lab would answer nobody. Here a thread with a connection of its own does it; commits go on meanwhile (sqlite.org/wal.html).
In: a word after each commit. Out: a log that stays short. Called by ``storage`` only.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

EVERY = 500  # commits; some MB of log
LONG = 8192  # pages of 4 KB
log = logging.getLogger(__name__)


class Checkpointer:
    """One thread for one database file, from construction to ``close``."""

    def __init__(self, path: Path, every: int = EVERY) -> None:
        self._path = path
        self._every = every
        self._commits = 0
        self._closing = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        """After each commit."""
        self._commits += 1
        if self._commits >= self._every:
            self._commits = 0
            self._due.set()

    def close(self) -> None:
        self._closing = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA synchronous = NORMAL")
        while not self._closing:
            self._due.wait()
            self._due.clear()
            try:
                _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages > LONG:  # never a pause between commits in which the log could begin anew: make one
                    db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            except sqlite3.Error as error:  # the log grows until it works again; nothing is lost
                log.warning("checkpoint of %s: %s", self._path, error)
        db.close()
