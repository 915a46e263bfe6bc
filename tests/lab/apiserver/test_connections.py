"""Bounds: a slow, silent or vanished client costs nothing lasting, and no request is larger than it may be."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp
import pytest

from stockade.lab.apiserver import watches
from stockade.lab.apiserver.context import CONTEXT

from .conftest import TOKEN

MAPS = "/api/v1/namespaces/default/configmaps"
AUTH = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET /api HTTP/1.1\r\nHost:", b"GET"])
async def test_who_does_not_ask_is_sent_away(plain, sent):
    reader, writer = await plain.connect()
    writer.write(sent)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await plain.until(0)


async def test_who_asks_may_stay(plain):
    reader, writer = await plain.connect()
    writer.write(f"GET /healthz HTTP/1.1\r\n{AUTH}\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await asyncio.sleep(0.6)
    assert plain.open == 1
    writer.write(f"GET /healthz HTTP/1.1\r\n{AUTH}\r\n".encode())
    async with asyncio.timeout(10):
        while b"200 OK" not in await reader.readline():
            pass
    writer.close()


async def test_a_body_that_does_not_come(plain):
    reader, writer = await plain.connect()
    head = f"POST {MAPS} HTTP/1.1\r\n{AUTH}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"metadata"')
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"reason":"Timeout"' in answer
    writer.close()
    await plain.until(0)


async def test_no_body_is_awaited_from_strangers(plain):
    reader, writer = await plain.connect()
    writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
    async with asyncio.timeout(0.25):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_more_connections_than_there_may_be(plain):
    """Who has shown a token stays; the oldest stranger makes room; when there is none, the newest goes."""

    async def known():
        reader, writer = await plain.connect()
        writer.write(f"GET /healthz HTTP/1.1\r\n{AUTH}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        return reader, writer

    friends = [await known() for _ in range(10)]
    strangers = [await plain.connect() for _ in range(10)]
    friends.append(await known())
    async with asyncio.timeout(0.25):
        assert await strangers[0][0].read() == b""
    assert plain.open == 20
    friends += [await known() for _ in range(9)]
    reader, writer = await plain.connect()
    async with asyncio.timeout(0.25):
        assert await reader.read() == b""
    assert plain.open == 20
    for _, each in (*friends, *strangers, (reader, writer)):
        each.close()
    await plain.until(0)


@pytest.mark.parametrize("watch", [False, True])
async def test_who_does_not_read_what_was_asked_for(plain, store, watch):
    big = "x" * 900_000
    for number in range(12):
        body = {"metadata": {"name": f"m{number}"}, "data": {"a": big}}
        store.create("configmaps", "default", body)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", plain.port))
    query = "?watch=1&timeoutSeconds=600" if watch else ""
    sock.sendall(f"GET {MAPS}{query} HTTP/1.1\r\n{AUTH}\r\n".encode())
    await plain.until(1)
    await plain.until(0)  # the kernel gave it up
    assert not plain.app[CONTEXT].streams
    sock.close()


async def test_a_watcher_that_is_gone(plain, monkeypatch):
    """Nothing happens that could be written to it: the watch looks around from time to time."""
    monkeypatch.setattr(watches, "LOOK_AROUND", 0.1)
    reader, writer = await plain.connect()
    writer.write(f"GET {MAPS}?watch=1 HTTP/1.1\r\n{AUTH}\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert len(plain.app[CONTEXT].streams) == 1
    writer.transport.abort()
    await plain.until(0)
    assert not plain.app[CONTEXT].streams


@pytest.mark.parametrize(
    "head",
    [
        "X-Long: " + "x" * 20_000 + "\r\n",
        "".join(f"X-{number}: y\r\n" for number in range(200)),
    ],
    ids=["one long", "many"],
)
async def test_headers_are_bounded(plain, head):
    reader, writer = await plain.connect()
    writer.write(f"GET /healthz HTTP/1.1\r\n{AUTH}{head}\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 431"))
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_bounded(client, chunked):
    body = b'{"metadata":{"name":"x"},"data":{"a":"' + b"x" * (3 * 1024 * 1024) + b'"}}'

    async def parts():
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    with contextlib.suppress(aiohttp.ClientOSError):  # the server need not take the rest
        async with client.post(
            MAPS, data=parts() if chunked else body, headers={"Content-Type": "application/json"}
        ) as response:
            assert (response.status, (await response.json())["reason"]) == (413, "RequestEntityTooLarge")
    async with client.get(f"{MAPS}/x") as response:
        assert response.status == 404


async def test_names_that_were_made_up_do_not_collide(client, store, monkeypatch):
    made = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr("stockade.lab.apiserver.store.random.choices", lambda *_, **__: list(next(made)))
    for expected in ("m-aaaaa", "m-bbbbb"):
        async with client.post(MAPS, json={"metadata": {"generateName": "m-"}}) as response:
            assert (await response.json())["metadata"]["name"] == expected


async def test_endpoints_are_deprecated(client):
    async with client.get("/api/v1/namespaces/default/endpoints") as response:
        assert "v1 Endpoints is deprecated in v1.33+" in response.headers["Warning"]


async def test_ephemeral_containers_come_by_their_own_way(client, store):
    path = "/api/v1/namespaces/default/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    async with client.post(path, json=pod) as response:
        made = await response.json()
    extra = {"name": "debug", "image": "busybox"}
    made["spec"]["ephemeralContainers"] = [extra]
    async with client.put(f"{path}/p", json=made) as response:
        assert "ephemeralContainers" not in (await response.json())["spec"]
    patch = {"spec": {"ephemeralContainers": [extra]}}
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    async with client.patch(f"{path}/p/ephemeralcontainers", json=patch, headers=strategic) as response:
        found = await response.json()
    assert [each["name"] for each in found["spec"]["ephemeralContainers"]] == ["debug"]
    patch = {"spec": {"ephemeralContainers": [{"name": "c", "image": "busybox"}]}}
    async with client.patch(f"{path}/p/ephemeralcontainers", json=patch, headers=strategic) as response:
        assert response.status == 422
    merge = {"Content-Type": "application/merge-patch+json"}
    gone = {"spec": {"ephemeralContainers": None}}
    async with client.patch(f"{path}/p/ephemeralcontainers", json=gone, headers=merge) as response:
        assert response.status == 422
    async with client.patch(
        f"{path}/p", json={"metadata": {"labels": {"a": "b"}}}, headers=merge
    ) as response:
        assert len((await response.json())["spec"]["ephemeralContainers"]) == 1
