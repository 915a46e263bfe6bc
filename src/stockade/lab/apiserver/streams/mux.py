"""The streams of one SPDY connection, as objects to read and write.

In: a ``Link``. Out: ``SpdyStream`` for each stream the client opens. Called by exec and attach (``channels``) and by
``portforward``. A stream that nobody reads holds the whole connection back once it has ``_BACKLOG`` bytes in store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from stockade.lab.apiserver.streams import spdy
from stockade.lab.apiserver.streams.links import Link

_BACKLOG = 1 << 20
_CHUNK = 1 << 15
_LINGER = 2.0
"""Seconds to wait for the client to close first: closing with its data unread would reset the connection and take our last words along."""


class SpdyStream:
    """A stream that the client opened; readable until its FIN, writable until ``close``."""

    def __init__(self, number: int, headers: dict[str, str], link: Link) -> None:
        self.number = number
        self.headers = headers
        self._link = link
        self._chunks: deque[bytes] = deque()
        self._stored = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._closed = False
        self.abandoned = False

    async def read(self) -> bytes:
        """Some bytes; b"" at the end of what the client sends."""
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._stored -= len(chunk)
        self._changed.set()
        if not self._ended:
            size = len(chunk)
            with contextlib.suppress(ConnectionError):  # the next read will tell
                await self._link.write(spdy.window_update(self.number, size) + spdy.window_update(0, size))
        return chunk

    async def write(self, payload: bytes) -> None:
        for at in range(0, len(payload), _CHUNK):
            if self._closed:
                return
            await self._link.write(spdy.data(self.number, payload[at : at + _CHUNK]))

    async def close(self) -> None:
        """No more from us (FIN); the client may still send."""
        if not self._closed:
            self._closed = True
            await self._link.write(spdy.data(self.number, b"", fin=True))

    async def reset(self) -> None:
        """Give the stream up in both directions."""
        if not (self._closed and self._ended):
            self.abandon()
            await self._link.write(spdy.reset(self.number))

    async def store(self, chunk: bytes) -> None:
        """From the connection: data has come. Waits while too much is in store."""
        while self._stored > _BACKLOG and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if chunk and not self._ended:
            self._chunks.append(chunk)
            self._stored += len(chunk)
            self._changed.set()

    def end(self) -> None:
        """From the connection: the client sends no more."""
        self._ended = True
        self._changed.set()

    def abandon(self) -> None:
        """From the connection: the stream was reset, or the connection is lost."""
        self._closed = self.abandoned = True
        self.end()


class SpdyConnection:
    """Run ``serve`` in a task beside the consumers of ``accept``."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._framer = spdy.Framer()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._last = 0

    async def accept(self) -> SpdyStream | None:
        """The next stream the client opens; None when no more will come."""
        stream = await self._opened.get()
        if stream is None:
            self._opened.put_nowait(None)
        return stream

    async def serve(self) -> None:
        """Read until the client is gone (or breaks the protocol)."""
        try:
            while chunk := await self._link.read():
                for frame in self._framer.feed(chunk):
                    await self._dispatch(frame)
        except (spdy.SpdyError, ConnectionError):
            pass
        finally:
            for stream in self._streams.values():
                stream.abandon()
            self._opened.put_nowait(None)

    async def _dispatch(self, frame: spdy.Frame) -> None:
        match frame:
            case spdy.StreamOpened(number, headers, fin):
                await self._open(number, headers, fin=fin)
            case spdy.StreamData(number, payload, fin):
                stream = self._streams.get(number)
                if stream is None:
                    await self._link.write(spdy.reset(number))
                    return
                await stream.store(payload)
                if fin:
                    stream.end()
            case spdy.StreamReset(number):
                if stream := self._streams.pop(number, None):
                    stream.abandon()
            case spdy.Pinged(number):
                await self._link.write(spdy.ping(number))
            case spdy.GoneAway():
                self._opened.put_nowait(None)

    async def _open(self, number: int, headers: dict[str, str], *, fin: bool) -> None:
        if number <= self._last or not number % 2:
            raise spdy.SpdyError(f"stream {number} opened out of order")
        self._last = number
        stream = self._streams[number] = SpdyStream(number, headers, self._link)
        await self._link.write(self._framer.reply(number))
        if fin:
            stream.end()
        self._opened.put_nowait(stream)

    def forget(self, stream: SpdyStream) -> None:
        """The stream is finished on both sides."""
        self._streams.pop(stream.number, None)

    async def finish(self, serving: asyncio.Task[None]) -> None:
        """Close every stream, then the connection once the client has (or has had time to)."""
        for stream in list(self._streams.values()):
            await stream.close()
            stream.end()
        await self._link.write(spdy.go_away(self._last))
        await asyncio.wait({serving}, timeout=_LINGER)

    async def close(self, serving: asyncio.Task[None]) -> None:
        """However it ended: nothing of it is left."""
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await self._link.close()
