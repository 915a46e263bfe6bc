"""SPDY/3.1 frames: bytes in, frames out, and the other way; no I/O here.

kubectl before 1.30 speaks SPDY for exec, attach and port-forward, and every kubectl does for port-forward (in a WebSocket).
Called by ``mux``, which keeps the streams. Rule source: SPDY protocol draft 3.1, sections 2.2 to 2.6.

Windows: we acknowledge what we consume, as the draft wants. Of the peer's window we take no notice: the Go library that
every Kubernetes client uses sends no WINDOW_UPDATE at all, so honouring it would stop each stream after 64 KiB; the
connection's own flow control holds a fast sender back.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import msgspec

_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _WINDOW_UPDATE = 1, 2, 3, 6, 7, 9
_FIN = 1
_HEADERS_LIMIT = 1 << 16

_WORDS = (  # noqa: SIM905 - a list literal would be one long line
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
).split()
_TEXT = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 "
    b"Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    b"404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul "
    b"Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,"
    b"image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    b"sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.encode()
        for word in [
            *_WORDS,
            "200 OK",
            "version",
            "HTTP/1.1",
            "url",
            "public",
            "set-cookie",
            "keep-alive",
            "origin",
        ]
    )
    + _TEXT
)
"""What both sides' zlib streams for header blocks start with (section 2.6.10.1)."""


class SpdyError(Exception):
    """The peer broke the protocol; the connection is of no further use."""


class StreamOpened(msgspec.Struct, frozen=True):
    stream: int
    headers: dict[str, str]
    fin: bool


class StreamData(msgspec.Struct, frozen=True):
    stream: int
    data: bytes
    fin: bool


class StreamReset(msgspec.Struct, frozen=True):
    stream: int


class Pinged(msgspec.Struct, frozen=True):
    """To be answered with ``ping(id)``."""

    id: int


class GoneAway(msgspec.Struct, frozen=True):
    """The peer will open no more streams."""


Frame = StreamOpened | StreamData | StreamReset | Pinged | GoneAway


class Framer:
    """One connection's state: half-read frames and the two header compressions."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            head, flags_and_length = struct.unpack_from(">II", self._buffer)
            flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if head >> 31:
                yield from self._control(head, flags, payload)
            else:
                yield StreamData(head, payload, bool(flags & _FIN))

    def _control(self, head: int, flags: int, payload: bytes) -> Iterator[Frame]:
        version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version} is not supported")
        if kind == _SYN_STREAM:
            (stream,) = _unpack(">I6x", payload)
            yield StreamOpened(stream & 0x7FFFFFFF, self._read_headers(payload[10:]), bool(flags & _FIN))
        elif kind == _RST_STREAM:
            (stream,) = _unpack(">I", payload)
            yield StreamReset(stream & 0x7FFFFFFF)
        elif kind == _PING:
            (number,) = _unpack(">I", payload)
            yield Pinged(number)
        elif kind == _GOAWAY:
            yield GoneAway()
        elif kind in {_SYN_REPLY, 8}:
            self._read_headers(payload[4:])  # SYN_REPLY, HEADERS: not for us, but the compression goes on

    def _read_headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _HEADERS_LIMIT)
        except zlib.error as error:
            raise SpdyError(f"unreadable SPDY header block: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("SPDY header block too large")
        (count,) = _unpack(">I", plain)
        at, parts = 4, list[str]()
        for _ in range(min(count * 2, _HEADERS_LIMIT)):
            (size,) = _unpack(">I", plain[at:])
            text = plain[at + 4 : at + 4 + size]
            if len(text) < size:
                raise SpdyError("SPDY header block cut short")
            parts.append(text.decode("utf-8", "replace"))
            at += 4 + size
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """SYN_REPLY: the stream the peer opened is accepted."""
        pairs = [text.encode() for pair in (headers or {}).items() for text in pair]
        plain = struct.pack(">I", len(pairs) // 2) + b"".join(struct.pack(">I", len(p)) + p for p in pairs)
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _frame(_SYN_REPLY, struct.pack(">I", stream) + block)


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    """A data frame; ``payload`` is at most 16 MiB."""
    return struct.pack(">II", stream, fin << 24 | len(payload)) + payload


def reset(stream: int) -> bytes:
    """RST_STREAM with status CANCEL."""
    return _frame(_RST_STREAM, struct.pack(">II", stream, 5))


def ping(number: int) -> bytes:
    return _frame(_PING, struct.pack(">I", number))


def go_away(last_stream: int) -> bytes:
    return _frame(_GOAWAY, struct.pack(">II", last_stream, 0))


def window_update(stream: int, size: int) -> bytes:
    """``size`` more bytes may be sent on ``stream`` (0: on the connection)."""
    return _frame(_WINDOW_UPDATE, struct.pack(">II", stream, size))


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, len(payload)) + payload


def _unpack(form: str, payload: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, payload)
    except struct.error as error:
        raise SpdyError("SPDY frame cut short") from error
