"""Moving bytes between a process's pipes or terminal and whoever looks on: the log, exec clients, attached clients.

In: descriptors whose other ends a process holds. Out: ``asyncio.StreamReader`` per onlooker. Always drained, whether or not somebody
looks; an onlooker who does not read makes the process wait (as container runtimes do) instead of filling memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Final

_CHUNK: Final = 65536
_LAST_PIECES: Final = 16


class Output:
    """The reading end of a process's stdout, stderr or terminal; owns the descriptor."""

    def __init__(self, fd: int, on_data: Callable[[bytes], None] | None = None) -> None:
        self._fd = fd
        self._on_data = on_data
        self._readers: set[asyncio.StreamReader] = set()
        self._holds: set[asyncio.StreamReader] = set()
        self._loop = asyncio.get_running_loop()
        self._open = True
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._on_readable)

    def subscribe(self) -> asyncio.StreamReader:
        """Everything from now on; end of file when the process's end is closed."""
        reader = asyncio.StreamReader(limit=_CHUNK, loop=self._loop)
        if not self._open:
            reader.feed_eof()
            return reader
        reader.set_transport(_Throttle(self, reader))
        self._readers.add(reader)
        return reader

    def unsubscribe(self, reader: asyncio.StreamReader) -> None:
        self._readers.discard(reader)
        self.release(reader)
        reader.feed_eof()

    def hold(self, reader: asyncio.StreamReader) -> None:
        if self._open and not self._holds:
            self._loop.remove_reader(self._fd)
        self._holds.add(reader)

    def release(self, reader: asyncio.StreamReader) -> None:
        self._holds.discard(reader)
        if self._open and not self._holds:
            self._loop.add_reader(self._fd, self._on_readable)

    def finish(self) -> None:
        """The process ended: deliver what is left, wait for nobody."""
        for _ in range(_LAST_PIECES):  # a child it left behind may go on writing
            if not self._open or not self._read():
                break
        self.close()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        for reader in self._readers:
            reader.feed_eof()
        self._readers.clear()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """One piece; False when there is none now (or ever again)."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no process has the terminal open any more
            data = b""
        if not data:
            self.close()
            return False
        if self._on_data is not None:
            self._on_data(data)
        for reader in self._readers:
            reader.feed_data(data)
        return True


class _Throttle(asyncio.ReadTransport):
    """What a StreamReader calls when its buffer is full, and again when it has been read."""

    def __init__(self, output: Output, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._output = output
        self._reader = reader

    def pause_reading(self) -> None:
        self._output.hold(self._reader)

    def resume_reading(self) -> None:
        self._output.release(self._reader)


class Input:
    """The writing end of a process's stdin or its terminal (then ``terminal``: not closed before its process ends); owns the descriptor."""

    def __init__(self, fd: int, *, terminal: bool = False) -> None:
        self._fd = fd
        self._terminal = terminal
        self._open = True
        self._writing = asyncio.Lock()
        os.set_blocking(fd, False)

    async def write(self, data: bytes) -> None:
        async with self._writing:
            rest = memoryview(data)
            while rest and self._open:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._writable()
                except OSError:  # nobody reads it any more
                    return

    def close(self) -> None:
        """End of file for the process. A terminal stays open, as in container runtimes."""
        if self._open and not self._terminal:
            self.finish()

    def finish(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)

    def resize(self, columns: int, rows: int) -> None:
        if self._open and self._terminal:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(self._fd, lambda: None if ready.done() else ready.set_result(None))
        try:
            # The reader may end while we wait; a closed descriptor is never reported as writable.
            while self._open and not ready.done():
                await asyncio.wait([ready], timeout=0.5)
        finally:
            if self._open:
                loop.remove_writer(self._fd)
