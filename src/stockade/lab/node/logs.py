"""A container's output on disk, and reading it back for ``kubectl logs``.

In: pieces of output as they come from pipes or a terminal. Out: lines, optionally followed as they grow. One file per run of a
container, in the CRI log format (``TIME STREAM P|F CONTENT``: P for a piece without its end of line), plus one older file: bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from stockade.lab.node.runtime import LogOptions

_HALF_LIMIT: Final = 5_000_000
_LONG_AGO: Final = 10 * 365 * 86400.0  # seconds: before any lab
_MOST_LINES: Final = 2 * _HALF_LIMIT


class Entry(msgspec.Struct, frozen=True):
    time: bytes
    content: bytes  # with the end of line, if it had one


class ContainerLog:
    """Written by the container's output; read by any number of followers, who wake up on each write."""

    def __init__(self, path: Path, half_limit: int = _HALF_LIMIT, *, ended: bool = False) -> None:
        """``ended``: the file of a run that is over, to be read only."""
        self._path = path
        self._older = path.with_suffix(".1")
        self._half_limit = half_limit
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = -1 if ended else self._open()
        self._size = path.stat().st_size if ended else 0
        self._generation = 0
        self._closed = ended
        self._changed = asyncio.Event()

    def write(self, data: bytes, stream: str = "stdout") -> None:
        if not data or self._closed:
            return
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        *lines, rest = data.split(b"\n")
        tag = b" " + stream.encode()
        record = b"".join(time + tag + b" F " + line + b"\n" for line in lines)
        if rest:
            record += time + tag + b" P " + rest + b"\n"
        if self._size + len(record) > self._half_limit:
            self._rotate()
        os.write(self._fd, record)
        self._size += len(record)
        self._wake()

    def close(self) -> None:
        """The container ended: followers get the rest and stop."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            self._wake()

    def delete(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)
        self._older.unlink(missing_ok=True)

    def tail(self, lines: int, size: int) -> bytes:
        """At most so many lines and bytes of the end."""
        options = LogOptions(tail_lines=lines)
        return b"".join(_Printer(options).pieces(_tail(self._recorded(), lines)))[-size:]

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        generation, offset = self._generation, self._size
        entries: Iterator[Entry] = self._recorded()
        if options.since_seconds is not None:
            age = min(options.since_seconds, _LONG_AGO)
            oldest = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age, UTC)
            oldest_text = oldest.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()
            entries = (entry for entry in entries if entry.time >= oldest_text)
        if options.tail_lines is not None:
            entries = _tail(entries, options.tail_lines)
        printer = _Printer(options)
        for piece in printer.pieces(entries):
            yield piece
        while options.follow and not printer.is_full:
            changed = self._changed
            fresh, generation, offset = self._since(generation, offset)
            for piece in printer.pieces(iter(fresh)):
                yield piece
            if not fresh:
                if self._closed:
                    return
                await changed.wait()

    def _open(self) -> int:
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)

    def _rotate(self) -> None:
        os.close(self._fd)
        self._path.replace(self._older)
        self._fd = self._open()
        self._size = 0
        self._generation += 1

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _recorded(self) -> Iterator[Entry]:
        data = self._older.read_bytes() if self._older.exists() else b""
        return _parse(data + self._path.read_bytes())

    def _since(self, generation: int, offset: int) -> tuple[list[Entry], int, int]:
        """What was written after that place. A follower slower than two rotations misses the middle, as with any rotated log."""
        data = b""
        if generation != self._generation:
            older = self._older.read_bytes()
            data = older[offset:] if generation == self._generation - 1 else older
            offset = 0
        with self._path.open("rb") as file:
            file.seek(offset)
            data += file.read()
        return list(_parse(data)), self._generation, self._size


class _Printer:
    """Entries to what the client sees: time stamps at line starts only, at most ``limit_bytes``."""

    def __init__(self, options: LogOptions) -> None:
        self._timestamps = options.timestamps
        self._left = options.limit_bytes
        self._at_line_start = True

    @property
    def is_full(self) -> bool:
        return self._left == 0

    def pieces(self, entries: Iterator[Entry]) -> Iterator[bytes]:
        for entry in entries:
            piece = entry.content
            if self._timestamps and self._at_line_start:
                piece = entry.time + b" " + piece
            self._at_line_start = entry.content.endswith(b"\n")
            if self._left is not None:
                piece = piece[: self._left]
                self._left -= len(piece)
            if piece:
                yield piece
            if self.is_full:
                return


def _parse(data: bytes) -> Iterator[Entry]:
    for record in data.split(b"\n"):
        parts = record.split(b" ", 3)
        if len(parts) == 4:
            yield Entry(parts[0], parts[3] + b"\n" if parts[2] == b"F" else parts[3])


def _tail(entries: Iterator[Entry], lines: int) -> Iterator[Entry]:
    """The last lines; a line may consist of several entries."""
    kept: deque[list[Entry]] = deque(maxlen=min(max(lines, 0), _MOST_LINES))
    current: list[Entry] = []
    for entry in entries:
        current.append(entry)
        if entry.content.endswith(b"\n"):
            kept.append(current)
            current = []
    if current:
        kept.append(current)
    return (entry for line in kept for entry in line)
