"""The two API cases of the Kubernetes end-to-end suite: what a server must do with NetworkPolicy objects, beside enforcing them.

In: an ApiClient. Out: ``Result``. Called by ``__main__``. No packet is sent. Rows API1 and API2 of the upstream table.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from stockade.kube.client import ApiClient
from stockade.kube.errors import KubeError
from stockade.kube.resources import NAMESPACES, NETWORK_POLICIES
from stockade.testing.conformance.case import Case, Json
from stockade.testing.conformance.run import Result

SPACE = "netpol-api"
LABELS = {"special-label": "conformance"}
SELECTED = {"labelSelector": "special-label=conformance"}
GROUP, VERSION = NETWORK_POLICIES.group, NETWORK_POLICIES.version
CASES = [
    Case("e2e", 49, "API", "NetworkPolicy API operations", []),
    Case("e2e", 50, "API", "NetworkPolicy API with endPort", []),
]


class _UnmetError(Exception):
    """An answer is not what the suite demands."""


def _check(met: bool, text: str) -> None:
    if not met:
        raise _UnmetError(text)


async def run(case: Case, client: ApiClient) -> Result:
    began, result = time.monotonic(), Result(case)
    tests: dict[int, Callable[[ApiClient], Awaitable[int]]] = {49: _operations, 50: _end_port}
    await client.create(NAMESPACES, "", {"metadata": {"name": SPACE}})
    try:
        result.asserted = await tests[case.number](client)
    except (_UnmetError, KubeError) as error:
        result.complaint = str(error)
    finally:
        await client.delete(NAMESPACES, "", SPACE)
        await _namespace_gone(client)
    result.seconds = time.monotonic() - began
    return result


async def _namespace_gone(client: ApiClient) -> None:
    for _ in range(200):
        try:
            await client.get(NAMESPACES, "", SPACE)
        except KubeError as error:
            if error.code == 404:
                return
            raise
        await asyncio.sleep(0.05)


def _policy(**port: Any) -> Json:
    return {
        "metadata": {"generateName": "e2e-example-netpol-", "labels": dict(LABELS)},
        "spec": {"podSelector": {"matchLabels": {"pod-name": "test-pod"}}, "ingress": [{"ports": [port]}]}
        if port
        else {"podSelector": {"matchLabels": {"pod-name": "test-pod"}}},
    }


async def _json(client: ApiClient, path: str) -> Json:
    found: Json = json.loads(await client.request("GET", path))
    return found


async def _operations(client: ApiClient) -> int:
    await _discovery(client)
    names = [(await client.create(NETWORK_POLICIES, SPACE, _policy()))["metadata"]["name"] for _ in range(3)]
    _check(len(set(names)) == 3, f"generateName gave {names}")
    first = await client.get(NETWORK_POLICIES, SPACE, names[0])
    _check(
        first["metadata"]["name"] == names[0] and bool(first["metadata"]["uid"]), "get gives another object"
    )
    for space in (SPACE, ""):
        page = await client.list_raw(NETWORK_POLICIES, space, SELECTED)
        _check(
            len(page.items or []) == 3,
            f"a list by label in {space or 'all namespaces'} has {len(page.items or [])}",
        )
        await _changes(client, space, names[0], page.metadata.resource_version)
    await _deletes(client, names[0])
    return 10


async def _discovery(client: ApiClient) -> None:
    groups = {each["name"]: each for each in (await _json(client, "/apis"))["groups"]}
    versions = [each["version"] for each in groups.get(GROUP, {}).get("versions", [])]
    _check(VERSION in versions, f"/apis has {GROUP} in {versions}")
    group = await _json(client, f"/apis/{GROUP}")
    _check(VERSION in [each["version"] for each in group["versions"]], f"/apis/{GROUP} lacks {VERSION}")
    resources = await _json(client, f"/apis/{GROUP}/{VERSION}")
    _check(
        "networkpolicies" in [each["name"] for each in resources["resources"]],
        "networkpolicies not discovered",
    )


async def _changes(client: ApiClient, space: str, name: str, since: str) -> None:
    """A merge patch and an update, each of which a watch must tell."""
    path = NETWORK_POLICIES.path(space)
    params = {"watch": "true", "resourceVersion": since, **SELECTED}
    marks = [f"patched{space}", f"updated{space}"]
    async with asyncio.timeout(30), client.stream(path, params) as lines:
        patch = {"metadata": {"annotations": {marks[0]: "true"}}}
        patched = await client.patch(NETWORK_POLICIES, SPACE, name, patch)
        _check(patched["metadata"]["annotations"].get(marks[0]) == "true", "a merge patch has no effect")
        obj = await client.get(NETWORK_POLICIES, SPACE, name)
        obj["metadata"]["annotations"][marks[1]] = "true"
        body = await client.request("PUT", NETWORK_POLICIES.path(SPACE, name), body=obj)
        _check(json.loads(body)["metadata"]["annotations"].get(marks[1]) == "true", "an update has no effect")
        for mark in marks:
            event = json.loads(await anext(lines))
            told = event["type"], mark in event["object"]["metadata"].get("annotations", {})
            _check(told == ("MODIFIED", True), f"the watch says {told} after {mark}")


async def _deletes(client: ApiClient, name: str) -> None:
    await client.delete(NETWORK_POLICIES, SPACE, name)
    await _refused(client.get(NETWORK_POLICIES, SPACE, name), 404, "a deleted policy is still there")
    left = await client.list(NETWORK_POLICIES, SPACE, SELECTED)
    _check(len(left) == 2, f"{len(left)} policies after one of three was deleted")
    await client.request("DELETE", NETWORK_POLICIES.path(SPACE), params=SELECTED)
    left = await client.list(NETWORK_POLICIES, SPACE, SELECTED)
    _check(left == [], f"{len(left)} policies after deletecollection")


async def _refused(request: Awaitable[object], code: int, complaint: str) -> None:
    try:
        await request
    except KubeError as error:
        _check(error.code == code, f"{complaint}: {error.code} {error}")
        return
    raise _UnmetError(complaint)


async def _end_port(client: ApiClient) -> int:
    bad: list[Json] = [
        {"protocol": "TCP", "port": 5000, "endPort": 3000},
        {"protocol": "TCP", "port": "http", "endPort": 5000},
        {"protocol": "TCP", "endPort": 5000},
    ]
    good: list[Json] = [
        {"protocol": "TCP", "port": 5000, "endPort": 5000},
        {"protocol": "TCP", "port": 5000, "endPort": 9000},
    ]
    for port in bad:
        await _refused(client.create(NETWORK_POLICIES, SPACE, _policy(**port)), 422, f"accepted: {port}")
    for port in good:
        made = await client.create(NETWORK_POLICIES, SPACE, _policy(**port))
        _check(made["spec"]["ingress"][0]["ports"] == [port], f"stored otherwise: {made['spec']}")
    return len(bad) + len(good)
