"""The frames of SPDY/3.1, against bytes made by hand."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.lab.apiserver.streams import spdy
from stockade.lab.apiserver.streams.spdy import DICTIONARY, Framer, SpdyError


class Peer:
    """The client's half: its own compression, and nothing of the code under test."""

    def __init__(self):
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream, headers, *, flags=0):
        plain = struct.pack(">I", len(headers))
        for text in (t.encode() for pair in headers.items() for t in pair):
            plain += struct.pack(">I", len(text)) + text
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">HHIIIH", 0x8003, 1, flags << 24 | 10 + len(block), stream, 0, 0) + block


def test_the_dictionary_is_the_one_of_the_draft():
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_streams_open_with_one_compression_for_all_headers():
    peer, framer = Peer(), Framer()
    sent = peer.open(1, {"streamtype": "error"}) + peer.open(3, {"streamtype": "stdin", "x": ""}, flags=1)
    assert list(framer.feed(sent)) == [
        spdy.StreamOpened(1, {"streamtype": "error"}, fin=False),
        spdy.StreamOpened(3, {"streamtype": "stdin", "x": ""}, fin=True),
    ]


def test_frames_arrive_in_pieces():
    framer = Framer()
    sent = Peer().open(1, {"a": "b"}) + struct.pack(">II", 1, 5) + b"hello" + struct.pack(">II", 1, 1 << 24)
    frames = [frame for at in range(len(sent)) for frame in framer.feed(sent[at : at + 1])]
    assert frames[1:] == [spdy.StreamData(1, b"hello", fin=False), spdy.StreamData(1, b"", fin=True)]


def test_control_frames():
    sent = struct.pack(">HHIII", 0x8003, 3, 8, 5, 5) + struct.pack(">HHII", 0x8003, 6, 4, 7)
    sent += struct.pack(">HHIII", 0x8003, 9, 8, 1, 100) + struct.pack(">HHIII", 0x8003, 7, 8, 5, 0)
    assert list(Framer().feed(sent)) == [spdy.StreamReset(5), spdy.Pinged(7), spdy.GoneAway()]


def test_a_reply_is_readable_by_the_peer():
    framer, inflate = Framer(), zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3):
        frame = framer.reply(stream, {"status": "200"})
        version, kind, length, number = struct.unpack_from(">HHII", frame)
        assert (version, kind, length, number) == (0x8003, 2, len(frame) - 8, stream)
        assert (
            inflate.decompress(frame[12:])
            == struct.pack(">II", 1, 6) + b"status" + struct.pack(">I", 3) + b"200"
        )


def test_what_we_send():
    assert spdy.data(3, b"ab", fin=True) == bytes.fromhex("00000003 01000002 6162")
    assert spdy.ping(7) == bytes.fromhex("80030006 00000004 00000007")
    assert spdy.reset(3) == bytes.fromhex("80030003 00000008 00000003 00000005")
    assert spdy.window_update(3, 256) == bytes.fromhex("80030009 00000008 00000003 00000100")
    assert spdy.go_away(3) == bytes.fromhex("80030007 00000008 00000003 00000000")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (bytes.fromhex("80020001 00000000"), "version 2"),
        (bytes.fromhex("80030001 00000004 00000001"), "cut short"),
        (bytes.fromhex("80030001 0000000c 00000001 00000000 0000 ffff"), "unreadable"),
        (Peer().open(1, {"a": "b" * 70000}), "too large"),
    ],
    ids=["version", "short", "garbage", "large"],
)
def test_a_peer_that_breaks_the_protocol(sent, text):
    with pytest.raises(SpdyError, match=text):
        list(Framer().feed(sent))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_connection_ends_in_a_protocol_error_or_goes_on(data):
    sent = bytearray(
        Peer().open(1, {"streamtype": "stdin", "port": "80"}) + struct.pack(">II", 1, 5) + b"hello"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SpdyError):
        for frame in Framer().feed(bytes(sent)):
            assert isinstance(frame, spdy.Frame)
