"""Random requests against an API server in this process: never a 500, never a hang, never another store than the model says.

    python -m stockade.testing.apifuzz [--seconds 60] [--seed N]

A request is made from a good one by a few strokes (``spoil``): a value of another type, a field taken away or doubled, a strange name, header,
selector, media type, bytes. The model is what the answers themselves say: each acknowledged write is kept, and from time to time everything that is
listed, watched, and stored must be it. Stops at the first failure and prints the request. Used by ``tests/lab/apiserver/test_fuzz.py`` for a few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import logging
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import yaml
from aiohttp import web

from stockade.lab.apiserver.app import create_app
from stockade.lab.apiserver.connections import Runner
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore

TOKEN, VERSION = "fuzz", {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
CORE, APPS = "/api/v1/namespaces/default", "/apis/apps/v1/namespaces/default"
_CONTAINER = {
    "name": "c",
    "image": "alpine",
    "ports": [{"containerPort": 80}],
    "env": [{"name": "A", "value": "b"}],
}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [_CONTAINER]}}
_CRD_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "default": 1, "minimum": 0},
                "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            },
            "x-kubernetes-validations": [{"rule": "self.replicas < 10", "message": "too many"}],
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
GOOD: Mapping[str, Mapping[str, Any]] = {
    f"{CORE}/pods": {
        "spec": {"containers": [_CONTAINER], "tolerations": [{"key": "a", "operator": "Exists"}]}
    },
    f"{CORE}/services": {
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "name": "http", "protocol": "TCP"}]}
    },
    f"{CORE}/configmaps": {"data": {"a": "b"}, "binaryData": {"c": "YQ=="}},
    f"{CORE}/secrets": {"data": {"a": "Yg=="}, "stringData": {"b": "c"}},
    f"{CORE}/events": {
        "involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"},
        "reason": "A",
        "message": "b",
    },
    f"{APPS}/deployments": {
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE, "replicas": 1}
    },
    f"{APPS}/statefulsets": {
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE, "serviceName": "x"}
    },
    f"{APPS}/daemonsets": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}},
    "/apis/batch/v1/namespaces/default/jobs": {
        "spec": {"template": {"spec": {"containers": [_CONTAINER], "restartPolicy": "Never"}}}
    },
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies": {
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "egress": [
                {
                    "ports": [{"port": 53, "endPort": 60}],
                    "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                }
            ],
            "policyTypes": ["Egress"],
        }
    },
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}}],
        "ports": [{"port": 80}],
    },
    "/apis/coordination.k8s.io/v1/namespaces/default/leases": {
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 5}
    },
    "/api/v1/namespaces": {},
    "/api/v1/nodes": {"spec": {"podCIDR": "10.244.9.0/24"}},
    "/apis/fuzz.example/v1/namespaces/default/things": {"spec": {"replicas": 2, "names": ["a"]}},
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "spec": {
            "group": "other.example",
            "names": {"kind": "Other", "plural": "others"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _CRD_SCHEMA}}
            ],
        }
    },
}
NAMES = (*("x",) * 12, "y", "z.z", "y", "others.other.example", "..", "a/b", "A", "%00", "", "a" * 260)
SUBRESOURCES = (
    "status",
    "scale",
    "binding",
    "eviction",
    "ephemeralcontainers",
    "finalize",
    "log",
    "exec",
    "token",
    "..",
)
MEDIA = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
    "",
    "application/json; charset=x",
)
PATCHES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
ACCEPTS = (
    *("*/*",) * 8,
    "application/json",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf",
    ";;,,=;as",
)
ODD: tuple[Any, ...] = (
    None, -1, 0, 1, 2**31, 2**63, 2**70, 1.5, 1e308, "", " ", "\0", "../../x", 'a"b\n}', "\x1b[31m", "é\u202e\U0001f600", [], {}, [[]], [None],
    {"": None}, {"a": {"b": []}}, True, False, "x" * 300, "10.0.0.0/8", "80", "b", "YQ==", "2026-01-01T00:00:00Z", {"$patch": "delete"},
    {"$patch": "replace"}, ["$retainKeys"], {"$setElementOrder/containers": [{"name": "c"}]}, {"$deleteFromPrimitiveList/names": ["a"]},
)  # fmt: skip
QUERIES: Mapping[str, Sequence[str]] = {
    "dryRun": ("All", "x", ""),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "fieldManager": ("me", "", "x" * 200, "\x00", "é"),
    "force": ("true", "false", "x"),
    "labelSelector": ("a=b", "a in (b,c)", "!a", "a>1", "a in (", ",,", "a=b=c", "é", "a notin ()", "\\"),
    "fieldSelector": (
        "metadata.name=x",
        "spec.x=1",
        "metadata.name!=x,status.phase=Running",
        "\\",
        "a\\=b=c",
        "=",
        "metadata.name=\\x",
    ),
    "limit": ("1", "2", "0", "-1", "x", "99999999999999999999"),
    "continue": ("x", "e30", "eyJydiI6LTEsInN0YXJ0IjpbIiIsIiJdLCJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "\0"),
    "resourceVersion": ("0", "1", "99999999", "-1", "x", "\uff11"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x"),
    "gracePeriodSeconds": ("0", "-5", "x", "99999999999999999"),
    "propagationPolicy": ("Foreground", "Background", "Orphan", "x"),
    "includeObject": ("None", "Object", "x"),
    "pretty": ("true", "0"),
    "timeoutSeconds": ("1", "-1", "x"),
    "sendInitialEvents": ("true",),
    "allowWatchBookmarks": ("true",),
}


class FuzzError(Exception):
    """What must not happen; the text has the request and the answer."""


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def spoil(rng: random.Random, value: Any) -> Any:
    """One stroke at a random place."""
    value = copy.deepcopy(value)
    place = rng.choice(list(places(value)))
    if not place:
        return value if rng.random() < 0.9 else rng.choice(ODD)
    *steps, last = place
    inner = value
    for step in steps:
        inner = inner[step]
    stroke = rng.random()
    if stroke < 0.15:
        del inner[last]
    elif stroke < 0.25 and isinstance(inner, list):
        inner.append(inner[last])
    elif stroke < 0.35 and isinstance(inner, dict):
        inner[rng.choice(("", "x", "é", "$patch", "metadata", str(last).upper()))] = rng.choice(ODD)
    else:
        inner[last] = rng.choice(ODD)
    return value


class Driver:
    """``send`` answers (code, body) and remembers what was acknowledged."""

    def __init__(self, client: aiohttp.ClientSession, store: ObjectStore, rng: random.Random) -> None:
        self._client = client
        self._store = store
        self.rng = rng
        self.codes: dict[int, int] = {}

    def request(self) -> Request:
        rng = self.rng
        collection = rng.choice(list(GOOD))
        method = rng.choice(
            ("POST",) * 4 + ("PUT", "PATCH", "PATCH", "PATCH", "GET", "GET", "DELETE", "HEAD", "OPTIONS")
        )
        name = rng.choice(NAMES)
        path = collection
        if method != "POST" and rng.random() < (0.97 if method in ("PUT", "PATCH") else 0.6):
            path = f"{collection}/{quote(name, safe='%')}"
            if rng.random() < 0.25:
                path += f"/{rng.choice(SUBRESOURCES)}"
        elif method == "POST" and rng.random() < 0.15:
            path = f"{collection}/x/{rng.choice(('binding', 'eviction', 'token'))}"
        obj: Any = {"metadata": {"name": name, "labels": {"a": "b"}}, **GOOD[collection]}
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            obj = spoil(rng, obj)
        headers, body = self._body(method, obj)
        query = "&".join(
            f"{key}={quote(rng.choice(QUERIES[key]))}"
            for key in rng.sample(list(QUERIES), rng.choice((0, 0, 1, 2)))
        )
        headers["Accept"] = rng.choice(ACCEPTS)
        return Request(method, path + (f"?{query}" if query else ""), headers, body)

    def _body(self, method: str, obj: Any) -> tuple[dict[str, str], bytes]:
        rng = self.rng
        if method in ("GET", "HEAD", "OPTIONS"):
            return {}, b""
        if method == "DELETE":
            options = {
                "propagationPolicy": rng.choice(("Background", "Orphan", "Foreground")),
                "preconditions": {"uid": "x"},
                "gracePeriodSeconds": 0,
            }
            return (
                ({"Content-Type": "application/json"}, _json(spoil(rng, options)))
                if rng.random() < 0.5
                else ({}, b"")
            )
        media = rng.choice(PATCHES if method == "PATCH" and rng.random() < 0.95 else MEDIA)
        if media == PATCHES[2]:
            obj = self._operations(obj)
        body = _json(obj)
        if "yaml" in media and rng.random() < 0.5:
            body = yaml.safe_dump(obj).encode(errors="surrogatepass")
        if rng.random() < 0.05:
            at = rng.randrange(len(body) + 1)
            body = (
                body[:at] + bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 5)))) + body[at + 1 :]
            )
        return ({"Content-Type": media} if media else {}), body

    def _operations(self, obj: Any) -> Any:
        rng = self.rng
        paths = ["/" + "/".join(map(str, place)) for place in places(obj)] + [
            "/metadata/labels/-",
            "/-",
            "x",
            "/~2",
            "/spec/containers/01",
        ]
        return [
            spoil(
                rng,
                {
                    "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
                    "path": rng.choice(paths),
                    "from": rng.choice(paths),
                    "value": rng.choice(ODD),
                },
            )
            for _ in range(rng.choice((0, 1, 3)))
        ]

    async def send(self, request: Request) -> None:
        before = self._store.revision
        try:
            async with (
                asyncio.timeout(15),
                self._client.request(
                    request.method, request.path, headers=request.headers, data=request.body or None
                ) as response,
            ):
                text = await response.read()
                code = response.status
        except TimeoutError:
            raise FuzzError(f"no answer to {request}") from None
        self.codes[code] = self.codes.get(code, 0) + 1
        if code >= 500 and not (code == 504 and b"ResourceVersionTooLarge" in text):
            raise FuzzError(f"{code} to {request}: {text!r}")
        if (code >= 400 or "dryRun=All" in request.path) and self._store.revision != before:
            raise FuzzError(f"{code}, yet something was stored: {request}: {text!r}")
        if code >= 400 and request.method != "HEAD" and msgspec.json.decode(text).get("code") != code:
            raise FuzzError(f"no Status in the answer to {request}: {text!r}")

    async def settle(self) -> None:
        """What is listed is what is stored, in memory and on disk; every object says where it is."""
        stored = {(row[0], row[1], row[2]): row[3] for row in self._store._storage.load()}  # noqa: SLF001 - the witness
        held = {}
        for kind in self._store.kinds.all():
            for entry in self._store.entries(kind.resource):
                metadata = entry.object["metadata"]
                key = (kind.resource, metadata.get("namespace", ""), metadata["name"])
                held[key] = entry.raw
                if msgspec.json.decode(entry.raw) != entry.object or not metadata.get("uid"):
                    raise FuzzError(f"{key} is not what was stored: {entry}")
        if held != stored:
            raise FuzzError(f"memory and disk differ in {set(held.items()) ^ set(stored.items())}")


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (msgspec.EncodeError, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        import json  # noqa: PLC0415 - numbers beyond 64 bits

        return json.dumps(value).encode()


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def fuzz(seconds: float, seed: int, requests: int = sys.maxsize) -> dict[int, int]:
    """How often each code was answered. Raises FuzzError."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    store = ObjectStore(Storage())
    for name in ("default", "kube-system"):
        store.create("namespaces", "", {"metadata": {"name": name}})
    _define(store)
    runner = Runner(create_app(store, tokens={TOKEN: "admin"}, version=VERSION))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url, headers = f"http://127.0.0.1:{runner.addresses[0][1]}", {"Authorization": f"Bearer {TOKEN}"}
    end = time.monotonic() + seconds
    async with aiohttp.ClientSession(url, headers=headers) as client:
        driver = Driver(client, store, random.Random(seed))  # noqa: S311 - to be repeated
        for number in range(requests):
            if time.monotonic() > end:
                break
            request = driver.request()
            await driver.send(request)
            if errors.records:
                raise FuzzError(f"the log has {errors.records[0].getMessage()} after {request}")
            if number % 200 == 199:
                await driver.settle()
        await driver.settle()
    await runner.cleanup()
    logging.getLogger().removeHandler(errors)
    return driver.codes


def _define(store: ObjectStore) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _CRD_SCHEMA}}
    version["subresources"] = {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    spec = {
        "group": "fuzz.example",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Namespaced",
        "versions": [version],
    }
    store.create(
        "customresourcedefinitions.apiextensions.k8s.io",
        "",
        {"metadata": {"name": "things.fuzz.example"}, "spec": spec},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")  # noqa: T201 - a program for a terminal
    try:
        codes = asyncio.run(fuzz(asked.seconds, asked.seed))
    except FuzzError as failure:
        print(failure)  # noqa: T201
        return 1
    print(f"{sum(codes.values())} requests: {dict(sorted(codes.items()))}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
