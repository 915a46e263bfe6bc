"""Requests that no client of good will sends: refused with a Status, never a 500, and nothing is stored."""

from __future__ import annotations

import asyncio
import copy
import json
import ssl

import pytest

from stockade.lab import credentials
from stockade.lab.apiserver.app import MAX_BODY

CORE = "/api/v1/namespaces/default"
PODS, MAPS = f"{CORE}/pods", f"{CORE}/configmaps"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
APPLY = "application/apply-patch+yaml"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"


async def raw(server, head: str) -> bytes:
    """The first line of the answer to bytes that a client library would not send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.tls)
    try:
        writer.write(f"{head}Host: x\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()


MALFORMED = [
    "",
    "Bearer",
    "Bearer ",
    "bearer \xff\xfe",
    "Bearer test-token2",
    "Bearer test-toke",
    "Basic dGVzdA==",
    "test-token",
    "Negotiate x, Bearer test-token",
    "Bearer " + "x" * 4000,
]


@pytest.mark.parametrize("authorization", MALFORMED)
async def test_malformed_credentials_are_just_wrong(server, authorization) -> None:
    line = await raw(server, f"GET {PODS} HTTP/1.1\r\nAuthorization: {authorization}\r\n")
    assert line.split()[1] == b"401", line


async def test_no_path_and_no_method_without_a_token(server) -> None:
    for path in ("/", "/nothing", "/version", PODS, f"{PODS}/web/exec", "/openapi/v3/api/v1", "/%2e%2e/"):
        for method in ("GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
            line = await raw(server, f"{method} {path} HTTP/1.1\r\n")
            assert line.split()[1] == b"401", (method, path, line)


@pytest.mark.parametrize(
    "stream", ["exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=80", "log"]
)
async def test_no_upgrade_without_a_token(server, stream) -> None:
    assert (await raw(server, f"GET {PODS}/web/{stream} HTTP/1.1\r\n{UPGRADE}")).split()[1] == b"401"


def test_only_modern_tls(tmp_path) -> None:
    context = credentials.make(tmp_path, ("admin",)).server_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_bodies_are_bounded(client) -> None:
    async with client.post(MAPS, data=b" " * (MAX_BODY + 1), headers={"Content-Type": JSON}) as response:
        assert response.status == 413


def deep(levels: int) -> bytes:
    return b'{"metadata":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


BOMB = b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (new, new, b",".join([b"*%c" % old] * 10)) for old, new in zip(b"abcdefgh", b"bcdefghi", strict=True)
)  # fmt: skip


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (JSON, deep(250)),
        (JSON, deep(100_000)),
        (JSON, b"[" * 500_000),
        (JSON, b"\xff\xfe"),
        (JSON, b""),
        (JSON, b"null"),
        (YAML, deep(5_000)),
        (YAML, b"[" * 5_000),
        (YAML, BOMB),
        (YAML, b"&a [*a]"),
        (YAML, b"\xff"),
        (YAML, b"!!python/object/apply:os.getpid []"),
        (YAML, b"a: 1\n---\nb: 2\n"),
        (PROTOBUF, b"k8s\0" + bytes(range(256))),
        (PROTOBUF, b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ],
)
async def test_bodies_that_are_no_objects(client, media, body) -> None:
    """On every path that reads one."""
    headers = {"Content-Type": media}
    paths = [
        ("POST", MAPS),
        ("PUT", f"{MAPS}/x"),
        ("POST", f"{PODS}/x/eviction"),
        ("POST", f"{PODS}/x/binding"),
        ("PUT", "/api/v1/namespaces/default/finalize"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ]
    for method, path in paths:
        async with client.request(method, path, data=body, headers=headers) as response:
            assert response.status == 400, (method, path, await response.text())
    patch = {JSON: "application/merge-patch+json", YAML: APPLY}.get(media)
    if patch and body:
        for path in (
            f"{MAPS}/x?fieldManager=t",
            "/apis/apps/v1/namespaces/default/deployments/x/scale?fieldManager=t",
        ):
            async with client.patch(path, data=body, headers={"Content-Type": patch}) as response:
                assert response.status in (400, 404), (path, await response.text())


GOOD = {
    PODS: {
        "metadata": {"name": "x", "labels": {"a": "b"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u"}]},
        "spec": {"containers": [{"name": "c", "image": "alpine", "command": ["a"], "ports": [{"containerPort": 80}]}], "tolerations": [{}]},
    },
    POLICIES: {
        "metadata": {"name": "x"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "egress": [{"ports": [{"port": 53}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
        },
    },
    SLICES: {"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.9"]}], "ports": [{"port": 80}]},
}  # fmt: skip
ODD = (
    None,
    -1,
    2**70,
    1.5,
    "",
    "\0",
    "../../x",
    'a"b\n}',
    "\x1b[31m",
    [],
    {},
    [[]],
    [None],
    {"": None},
    True,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    made = copy.copy(value)
    made[path[0]] = replaced(value[path[0]], path[1:], new)
    return made


async def test_any_value_in_any_field(client) -> None:
    """Created or refused (4xx), whatever stands where: a fixed walk over every field, with every odd value."""
    for path, good in GOOD.items():
        for place in places(good):
            for odd in ODD:
                body = json.dumps(replaced(good, place, odd)).encode()
                url = f"{path}?dryRun=All&fieldValidation=Ignore"
                async with client.post(url, data=body, headers={"Content-Type": JSON}) as response:
                    assert response.status < 500, (place, odd, await response.text())


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "a\0", "A", "a\n", "/etc/passwd", "a" * 300])
async def test_names_never_become_paths(client, name) -> None:
    """Namespace, pod and container name become directories and files of the node."""
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "alpine"}]}}
    for place in (("metadata", "name"), ("spec", "containers", 0, "name")):
        async with client.post(PODS, json=replaced(pod, place, name)) as response:
            assert response.status == 422, await response.text()
    async with client.post("/api/v1/namespaces", json={"metadata": {"name": name}}) as response:
        assert response.status == 422


async def test_the_uid_is_the_servers(client) -> None:
    pod = {
        "metadata": {"name": "x", "uid": "../../x"},
        "spec": {"containers": [{"name": "c", "image": "alpine"}]},
    }
    async with client.post(PODS, json=pod) as response:
        created = await response.json()
    assert response.status == 201
    assert len(created["metadata"]["uid"]) == 36
    merge = {"Content-Type": "application/merge-patch+json"}
    for path in (f"{PODS}/x", f"{PODS}/x/status"):
        async with client.patch(path, data=b'{"metadata":{"uid":"../../x"}}', headers=merge) as response:
            changed = await response.json()
        assert changed.get("metadata", {}).get("uid", created["metadata"]["uid"]) in (
            "",
            created["metadata"]["uid"],
        ), changed


async def test_half_a_character_in_a_name(client) -> None:
    """A lone surrogate decodes, as with the YAML reader of a cluster; the name it makes is no name."""
    body = b'{"metadata":{"name":"\\ud800"}}'
    async with client.post(MAPS, data=body, headers={"Content-Type": YAML}) as response:
        assert response.status == 422
        assert "metadata.name: Invalid value" in (await response.json())["message"]


async def test_a_null_in_a_list(client) -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [None]}}
    async with client.post(PODS, json=pod) as response:
        assert response.status == 422, "a null in a list is that type's empty value, which has no name"
        assert "spec.containers[0].name: Required value" in (await response.json())["message"]


async def test_owner_references_are_complete(client) -> None:
    pod = {
        "metadata": {"name": "x", "ownerReferences": [{}]},
        "spec": {"containers": [{"name": "c", "image": "a"}]},
    }
    async with client.post(PODS, json=pod) as response:
        assert response.status == 422
        causes = (await response.json())["details"]["causes"]
    assert [cause["field"] for cause in causes] == [
        f"metadata.ownerReferences[0].{field}" for field in ("apiVersion", "kind", "name", "uid")
    ]


@pytest.mark.parametrize("seconds", ["x", "1e9", "--"])
async def test_a_watch_that_cannot_be_has_no_half_answer(client, seconds) -> None:
    async with client.get(PODS, params={"watch": "1", "timeoutSeconds": seconds}) as response:
        assert response.status == 400
