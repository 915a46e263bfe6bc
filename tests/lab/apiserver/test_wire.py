"""Bytes that no client library sends: smuggling, bombs, floods. Nothing is stored, nothing is left open, nothing reaches the log."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
import zlib
from pathlib import Path

import pytest

from stockade.lab.apiserver import watches
from stockade.lab.apiserver.connections import Site
from stockade.lab.apiserver.context import CONTEXT

from .conftest import TOKEN, VIEWER_TOKEN

MAPS = "/api/v1/namespaces/default/configmaps"
AUTH = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"
POST = f"POST {MAPS} HTTP/1.1\r\n{AUTH}Content-Type: application/json\r\n"
GET = f"GET /healthz HTTP/1.1\r\n{AUTH}"
CHUNKED = "Transfer-Encoding: chunked\r\n"
SMUGGLED = f"POST {MAPS} HTTP/1.1\r\n{AUTH}Content-Length: 32\r\n\r\n" + '{"metadata":{"name":"smuggled"}}'


async def talk(port, data, tls=None):
    """Everything that the server says until it closes the connection, or a second of silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    answer = b""
    try:
        writer.write(data if isinstance(data, bytes) else data.encode("latin-1"))
        async with asyncio.timeout(1):
            while part := await reader.read(65536):
                answer += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return answer


AMBIGUOUS = {
    "length and chunks": f"{POST}Content-Length: 5\r\n{CHUNKED}\r\n0\r\n\r\n{SMUGGLED}",
    "chunks and length": f"{POST}{CHUNKED}Content-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "two lengths": f"{POST}Content-Length: 0\r\nContent-Length: 31\r\n\r\n{SMUGGLED}",
    "two lengths in one": f"{POST}Content-Length: 0, 31\r\n\r\n{SMUGGLED}",
    "negative length": f"{POST}Content-Length: -1\r\n\r\n{SMUGGLED}",
    "signed length": f"{POST}Content-Length: +0\r\n\r\n{SMUGGLED}",
    "length beyond numbers": f"{POST}Content-Length: 99999999999999999999999\r\n\r\n{SMUGGLED}",
    "unknown coding": f"{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunked is not last": f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunked twice": f"{POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "vertical tab": f"{POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunk beyond numbers": f"{POST}{CHUNKED}\r\nFFFFFFFFFFFFFFFFFF\r\n{SMUGGLED}",
    "negative chunk": f"{POST}{CHUNKED}\r\n-1\r\n{SMUGGLED}",
    "chunk of words": f"{POST}{CHUNKED}\r\n0x5\r\n{SMUGGLED}",
    "space before the colon": f"{POST}Content-Length : 0\r\n\r\n{SMUGGLED}",
    "folded header": f"{POST}X: a\r\n Content-Length: 0\r\n\r\n{SMUGGLED}",
    "bare carriage return": f"{POST}X: a\rContent-Length: 0\r\n\r\n{SMUGGLED}",
    "bare line feeds": f"{POST}Content-Length: 0\r\n\r\n".replace("\r\n", "\n") + SMUGGLED,
    "zero byte": f"{POST}X: a\0b\r\nContent-Length: 0\r\n\r\n{SMUGGLED}",
    "zero byte in the path": f"POST {MAPS}\0 HTTP/1.1\r\n{AUTH}\r\n{SMUGGLED}",
    "no host": f"POST {MAPS} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n{SMUGGLED}",
    "unknown method": f"BREW / HTTP/1.1\r\n{AUTH}\r\n{SMUGGLED}",
    "HTTP/2": f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{SMUGGLED}",
    "TLS to a TLS port again": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x" * 512,
    "10 000 headers": GET + "".join(f"X-{number}: y\r\n" for number in range(10_000)) + "\r\n",
    "a long path": f"GET /{'a' * 100_000} HTTP/1.1\r\n{AUTH}\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_refused(plain, store, caplog, case):
    """400 and the end of the connection; what came behind it is not read as a request."""
    with caplog.at_level(logging.INFO):
        answer = await talk(plain.port, AMBIGUOUS[case])
    assert answer.split(b" ", 2)[1] == b"400", answer
    assert b" 201 " not in answer
    assert b" 200 " not in answer
    assert store.list("configmaps") == []
    assert caplog.records == []
    await plain.until(0)


BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
PACKED = b"".join(BOMB.compress(b" " * 1_000_000) for _ in range(20)) + BOMB.flush()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_nothing_is_unpacked(plain, coding):
    head = f"{POST}Content-Encoding: {coding}\r\nContent-Length: {len(PACKED)}\r\n\r\n"
    answer = await talk(plain.port, head.encode() + PACKED)
    assert answer.startswith(b"HTTP/1.1 415 ")
    await plain.until(0)


async def test_a_path_with_a_host_in_it_needs_a_token_like_any(plain):
    for head in ("GET http://other/api/v1/secrets", "GET https://admin:x@other/version", "CONNECT other:80"):
        assert (
            b" 401 "
            in (await talk(plain.port, f"{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))[:20]
        )
    assert (
        b" 404 "
        in (await talk(plain.port, f"CONNECT other:80 HTTP/1.1\r\n{AUTH}Connection: close\r\n\r\n"))[:20]
    )


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_each_request_of_a_pipeline_shows_its_token(plain, version):
    bare = f"GET /healthz {version}\r\nHost: x\r\nConnection: keep-alive\r\n"
    last = bare.replace("keep-alive", "close")
    answer = await talk(plain.port, f"{bare}Authorization: Bearer {TOKEN}\r\n\r\n{bare}\r\n{last}\r\n")
    assert (answer.count(b" 200 OK"), answer.count(b" 401 Unauthorized")) in ((1, 2), (1, 0))


async def test_a_pipeline_is_no_way_around_the_viewers_limits(plain, store):
    viewer = AUTH.replace(TOKEN, VIEWER_TOKEN)
    lines = f"GET {MAPS} HTTP/1.1\r\n{viewer}\r\n" + SMUGGLED.replace(AUTH, viewer)
    answer = await talk(plain.port, lines)
    assert answer.count(b"HTTP/1.1 403") + answer.count(b"HTTP/1.1 401") >= 1
    assert store.list("configmaps") == []


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


WATCH = f"GET {MAPS}?watch=1 HTTP/1.1\r\n{AUTH}\r\n".encode()


async def vanish(plain, store, count, abort):
    """``count`` watchers at once, each sees an event; then they go."""
    open_ones = await asyncio.gather(*(plain.connect() for _ in range(count)))
    for _, writer in open_ones:
        writer.write(WATCH)
    async with asyncio.timeout(20):
        while len(plain.app[CONTEXT].streams) < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    store.create("configmaps", "default", {"metadata": {"generateName": "m-"}})
    for reader, _ in open_ones:
        await reader.readuntil(b"ADDED")
    for _, writer in open_ones:
        writer.transport.abort() if abort else writer.close()
    store.create("configmaps", "default", {"metadata": {"generateName": "m-"}})
    await plain.until(0)


@pytest.mark.parametrize("abort", [True, False])
async def test_watchers_that_vanish_leave_nothing(plain, store, abort, monkeypatch):
    monkeypatch.setattr(watches, "LOOK_AROUND", 0.1)
    plain.bounds.most, plain.bounds.header = 300, 20
    await vanish(plain, store, 60, abort)
    gc.collect()
    before, memory = descriptors(), resident()
    for _ in range(4):
        await vanish(plain, store, 60, abort)
    gc.collect()
    assert descriptors() <= before
    assert not plain.app[CONTEXT].streams
    assert len(asyncio.all_tasks()) < 20
    assert resident() - memory < 8 << 20


async def test_a_handshake_that_is_never_done(certificate, plain, monkeypatch):
    """Site bounds it; the connection is gone without having been one of ours."""
    monkeypatch.setattr("stockade.lab.apiserver.connections.HEADER_SECONDS", 0.2)
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    site = Site(plain.runner, listener, ssl_context=context)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    writer.write(b"\x16\x03\x01")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await site.stop()
