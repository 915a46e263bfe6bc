"""Every path and every method: nothing for strangers, nothing to change for a viewer. The list is made from what the server says it serves."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
import pytest

from stockade.lab.apiserver import reviews
from stockade.lab.apiserver.discovery import SUBRESOURCES
from stockade.lab.apiserver.kinds import KINDS
from stockade.lab.apiserver.users import HIDDEN

from .conftest import TOKEN, VIEWER_TOKEN

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
ODD = ("TRACE", "CONNECT", "PROPFIND", "LINK", "SEARCH")
PLAIN = (
    "/",
    "/api",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/healthz",
    "/livez/ping",
    "/metrics",
    "/nothing",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/readyz",
    "/version",
    "/logs",
    "/debug/pprof",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
)
UPGRADES = (
    {},
    {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
    {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng==",
        "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
    },
)
TRICKS = (
    "/api/v1/../v1/namespaces/default/pods",
    "/api/v1//namespaces/default/pods/x",
    "//api/v1/namespaces/default/pods/x",
    "/api/v1/namespaces/default/pods/x;a=b",
    "/api/v1/namespaces/default/pods%2fx",
    "/api/v1/namespaces/default/pods/x%2fstatus",
    "/%61pi/v1/namespaces/default/pods/x",
    "/api/v1/namespaces/default/pods/x/",
    "/api/v1/namespaces/default/pods/x/status/",
    "/api/v1/namespaces/default/%70ods/x",
    "/API/v1/namespaces/default/pods/x",
    "/api/v1/namespaces/default/pods/x?watch=true",
    "/api/v1/watch/namespaces/default/secrets",
    "/api/v1/namespaces/default/pods/x#/../../healthz",
    "/healthz/../api/v1/secrets",
    "/openapi/../api/v1/secrets",
    "/version/../api/v1/secrets",
    "/healthz%2f..%2fapi/v1/secrets",
    "/api/v1/namespaces/default/%73ecrets",
    "/api/v1/namespaces/default/secrets%00",
    "/api/v1/namespaces//secrets",
    "/api/v1/namespaces/namespaces/secrets",
    "/api/v1/namespaces/status/secrets",
    "/api/v1/namespaces/finalize/secrets/x",
    "/api/v1/namespaces/default/secrets/x/status",
)


def resource_paths():
    for kind in (*KINDS, *reviews.KINDS):
        base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        where = f"{base}/namespaces/default" if kind.namespaced else base
        yield f"{base}/{kind.plural}"
        yield f"{where}/{kind.plural}"
        yield f"{where}/{kind.plural}/x"
        yield f"{base}/watch/{kind.plural}"
        others = SUBRESOURCES if kind.plural in ("pods", "secrets") else ()
        for sub in dict.fromkeys((*kind.subresources, *others, "proxy", "token")):
            yield f"{where}/{kind.plural}/x/{sub}"


ALL = (*PLAIN, *TRICKS, *dict.fromkeys(resource_paths()))


async def send(server, requests, token=""):
    """The status of each request, over a few connections kept open; a closed one is opened again. Written by hand: clients tidy up paths."""

    async def worker(queue, found):
        reader = writer = None
        while queue:
            key = queue.pop()
            method, path, headers = key[0], key[1], dict(key[2])
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.tls)
            if token:
                headers["Authorization"] = f"Bearer {token}"
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 0\r\n\r\n".encode())
            async with asyncio.timeout(10):
                status = await reader.readline()
                length, close = 0, False
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().lower().partition(":")
                    length = int(value) if name == "content-length" else length
                    close = (
                        close or (name == "connection" and "close" in value) or name == "transfer-encoding"
                    )
                found[key] = int(status.split()[1]) if status else 0
                if method != "HEAD" and length and not close:
                    await reader.readexactly(length)
            if close or not status or headers.get("Upgrade") or method == "CONNECT":
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    queue, found = list(requests), {}
    await asyncio.gather(*(worker(queue, found) for _ in range(8)))
    return found


async def test_nothing_answers_a_stranger(server, store):
    before = store.revision
    streams = [
        path for path in ALL if path.endswith(("exec", "attach", "portforward", "log", "pods", "watch=true"))
    ]
    requests = [(method, path, ()) for method, path in itertools.product(METHODS, ALL)]
    requests += [(method, path, ()) for method, path in itertools.product(ODD, (*PLAIN, *TRICKS))]
    requests += [("GET", path, tuple(each.items())) for path in streams for each in UPGRADES[1:]]
    requests += [("POST", path, tuple(each.items())) for path in streams for each in UPGRADES[1:]]
    found = await send(server, requests)
    assert len(found) > 1500
    # 400: what is no request at all (CONNECT wants an authority); never answered beyond that.
    assert {key: code for key, code in found.items() if code not in (400, 401)} == {}
    assert {key[0] for key, code in found.items() if code == 400} <= {"CONNECT"}
    assert store.revision == before


def reads(method, path):
    """Whether a viewer may: by what the documentation says, not by the code."""
    parts = path.partition("?")[0].partition("#")[0].strip("/").split("/")
    return method in ("GET", "HEAD") and not {"exec", "attach", "portforward", "proxy"} & set(parts)


async def test_a_viewer_changes_nothing(server, store):
    """Whatever the method, the path, the upgrade: no 2xx for anything but reading, no Secret, no new revision."""
    secret = {"metadata": {"name": "x"}, "data": {"hidden": "c2VjcmV0"}}
    store.create("secrets", "default", secret)
    store.create(
        "pods", "default", {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    )
    before = store.revision
    paths = [path for path in ALL if "watch" not in path]
    requests = [(method, path, ()) for method, path in itertools.product(METHODS, paths)]
    requests += [(method, path, ()) for method, path in itertools.product(ODD, TRICKS)]
    streams = [path for path in paths if path.endswith(("exec", "attach", "portforward"))]
    requests += [
        (m, path, tuple(each.items())) for path in streams for each in UPGRADES[1:] for m in ("GET", "POST")
    ]
    found = await send(server, requests, VIEWER_TOKEN)
    let_through = {key for key, code in found.items() if code < 400}
    wrong = {
        key for key in let_through if not reads(*key[:2]) or any(f"/{name}" in key[1] for name in HIDDEN)
    }
    assert {key for key in wrong if "selfsubject" not in key[1]} == set()
    assert {key[0] for key in let_through} <= {"GET", "HEAD", "POST"}
    assert len(let_through) > 60, "a viewer that sees nothing proves nothing"
    assert {code for code in found.values() if code >= 500} == set()
    assert store.revision == before


@pytest.mark.parametrize("path", [path for path in TRICKS if "ecrets" in path])
async def test_no_spelling_shows_a_viewer_a_secret(server, store, path):
    store.create("secrets", "default", {"metadata": {"name": "x"}, "data": {"hidden": "c2VjcmV0"}})
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.tls)
    query = "" if "?" in path else "?timeoutSeconds=1"
    head = f"GET {path}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {VIEWER_TOKEN}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert b"c2VjcmV0" not in answer
    assert answer.split()[1] in (b"400", b"403", b"404"), answer


IMPERSONATION = (
    {"Impersonate-User": "admin"},
    {"Impersonate-User": "viewer", "Impersonate-Group": "system:masters"},
    {"Impersonate-Group": "system:masters"},
    {"Impersonate-Uid": "0"},
    {"Impersonate-Extra-scopes": "all"},
    {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-HTTP-Method-Override": "GET"},
)


@pytest.mark.parametrize(
    "headers", IMPERSONATION, ids=lambda each: next(iter(each.items()))[0] + str(len(each))
)
async def test_no_header_makes_a_viewer_more(server, store, headers):
    connector = aiohttp.TCPConnector(ssl=server.tls)
    token = {"Authorization": f"Bearer {VIEWER_TOKEN}"}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=token) as session:
        for method, path in (
            ("GET", "/api/v1/namespaces/default/secrets"),
            ("POST", "/api/v1/namespaces/default/configmaps"),
            ("DELETE", "/api/v1/namespaces/default"),
        ):
            async with session.request(
                method, path, headers=headers, json={"metadata": {"name": "x"}}
            ) as response:
                assert response.status in (400, 403), await response.text()
    assert store.list("configmaps") == []


async def test_two_tokens_are_none(server):
    """Two Authorization headers, of which one is right: not taken for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.tls)
    tokens = f"Authorization: Bearer x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"GET /version HTTP/1.1\r\nHost: x\r\n{tokens}\r\n".encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).split()[1] in (b"400", b"401")
    writer.close()
