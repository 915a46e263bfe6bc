"""Write load on a lab's API, each answer entered in a ledger.

In: the lab's kubeconfig and three ledgers that outlive it. Out: writes until the lab is killed (or time is up); then what is there.
Called by ``stockade.testing.crashes``. ConfigMaps are plain objects; policies keep the agents busy; pods the kubelet part and the scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Self

import aiohttp

from stockade.kube.config import load
from stockade.testing.ledger import Fact, Ledger

VALUE = "stockade.dev/value"
PATHS = {
    "configmaps": "/api/v1/namespaces/default/configmaps",
    "networkpolicies": "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "pods": "/api/v1/namespaces/default/pods",
}
NAMES = 12  # of each writer
_GONE = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError, asyncio.IncompleteReadError)
JsonObject = dict[str, Any]


def new_ledgers() -> dict[str, Ledger]:
    return {resource: Ledger(moving=resource == "pods") for resource in PATHS}


class RefusedError(Exception):
    """The API said no to a write that it must accept."""


class Load:
    """Use as an asynchronous context manager; ``refused`` collects answers that are neither success nor the end of the lab."""

    def __init__(self, kubeconfig: Path, ledgers: Mapping[str, Ledger], random: Random) -> None:
        access = load(kubeconfig)
        self._server = access.server
        self._ledgers = ledgers
        self._random = random
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {access.token}"},
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cadata=(access.ca or b"").decode())
            ),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        self._counter = random.randrange(10**9)
        self.refused: list[str] = []
        self.stopping = False  # no new writes
        self.watches: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def run(self, writers: int) -> None:
        """Until ``stopping``, or until the lab does not answer any more."""
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(self._watch(resource)) for resource in PATHS]
            tasks = [group.create_task(self._write_on("configmaps", f"w{n}")) for n in range(writers)]
            tasks.append(group.create_task(self._write_on("networkpolicies", "policies")))
            tasks.append(group.create_task(self._write_on("pods", "pods")))
            await asyncio.wait(tasks)
            for watch in watches:
                watch.cancel()

    async def compare(self) -> list[str]:
        """What differs from the ledgers, now that the lab is back."""
        wrong = []
        for resource, ledger in self._ledgers.items():
            wrong += await self._check_watch(resource, ledger.newest)
            answer = await self._request("GET", PATHS[resource])
            items = [item for item in answer["items"] if VALUE in _annotations(item)]
            found = {item["metadata"]["name"]: _fact(item) for item in items if not _is_leaving(item)}
            wrong += ledger.compare(found, int(answer["metadata"]["resourceVersion"]))
        return wrong

    async def pods_running(self, seconds: float) -> list[str]:
        """Every pod there runs again; those that do not, after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while waiting := await self._not_running():  # noqa: ASYNC110 - simple, and not what is tested
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return [f"pod {name} does not run again" for name in waiting]
        return []

    async def _not_running(self) -> list[str]:
        items = (await self._request("GET", PATHS["pods"]))["items"]
        alive = [item for item in items if not _is_leaving(item)]
        return [item["metadata"]["name"] for item in alive if item["status"].get("phase") != "Running"]

    async def _check_watch(self, resource: str, revision: int) -> list[str]:
        """A watch from before goes on, or is told to list again (410)."""
        query = {"watch": "1", "resourceVersion": str(revision), "timeoutSeconds": "1"}
        if not revision:
            return []
        async with self._session.get(self._url(resource), params=query) as answer:
            try:
                async with asyncio.timeout(0.05):  # what there is to say is said at once
                    line = await answer.content.readline()
            except TimeoutError:
                line = b""
        if not line:
            self.watches["goes on"] += 1
            return []
        change = json.loads(line)
        if change["type"] == "ERROR" and change["object"].get("code") == 410:
            self.watches["lists again"] += 1
            return []
        self.watches["goes on"] += 1
        version = int(change["object"].get("metadata", {}).get("resourceVersion") or 0)
        return (
            [] if version > revision else [f"a watch of {resource} from {revision} was told {line.decode()}"]
        )

    async def _write_on(self, resource: str, writer: str) -> None:
        with contextlib.suppress(*_GONE):
            while not self.stopping:
                await self._write(resource, writer)

    async def _write(self, resource: str, writer: str) -> None:
        """One write: create what is not there; else replace, patch or delete it."""
        ledger, path = self._ledgers[resource], PATHS[resource]
        self._counter += 1
        name, value = f"{writer}-{self._random.randrange(NAMES)}", str(self._counter)
        if resource == "pods":
            await self._write_pod(ledger, path, value)
            return
        held = ledger.fact(name)
        choice = self._random.choice(("PUT", "PATCH", "PATCH", "DELETE")) if held.uid else "POST"
        ledger.begin(name, None if choice == "DELETE" else value)
        body = None if choice == "DELETE" else _object(resource, name, value)
        answer = await self._request(choice, path if choice == "POST" else f"{path}/{name}", body)
        ledger.acknowledge(name, Fact(held.revision + 1) if choice == "DELETE" else _fact(answer))

    async def _write_pod(self, ledger: Ledger, path: str, value: str) -> None:
        """Few live at a time: the oldest goes when a new one comes. A name is not used twice."""
        alive = sorted(name for name in ledger.names() if ledger.fact(name).uid)
        if len(alive) >= 4:
            ledger.begin(alive[0], None)
            gone = await self._request("DELETE", f"{path}/{alive[0]}", {"gracePeriodSeconds": 0})
            ledger.acknowledge(alive[0], Fact(_fact(gone).revision))
        name = f"pod-{value}"
        ledger.begin(name, value)
        ledger.acknowledge(name, _fact(await self._request("POST", path, _object("pods", name, value))))
        await asyncio.sleep(0.1)

    async def _watch(self, resource: str) -> None:
        ledger = self._ledgers[resource]
        query = {"watch": "1", "resourceVersion": str(ledger.newest)}
        with contextlib.suppress(*_GONE):
            async with self._session.get(self._url(resource), params=query) as answer:
                async for line in answer.content:
                    self._saw(ledger, json.loads(line))

    def _saw(self, ledger: Ledger, change: JsonObject) -> None:
        obj = change["object"]
        if change["type"] == "ERROR" or VALUE not in _annotations(obj):
            return
        gone = change["type"] == "DELETED" or _is_leaving(obj)
        fact = _fact(obj)
        ledger.learn(obj["metadata"]["name"], Fact(fact.revision) if gone else fact)

    async def _request(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": media}
        async with self._session.request(method, self._server + path, data=data, headers=headers) as answer:
            result: JsonObject = await answer.json()
        if answer.status >= 400:
            self.refused.append(f"{method} {path}: {result.get('message')}")
            raise RefusedError(self.refused[-1])
        return result

    def _url(self, resource: str) -> str:
        return self._server + PATHS[resource]


def _object(resource: str, name: str, value: str) -> JsonObject:
    metadata = {"name": name, "annotations": {VALUE: value}}
    if resource == "configmaps":
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": value * 50}}
    if resource == "networkpolicies":
        spec: JsonObject = {"podSelector": {"matchLabels": {"value": value}}, "policyTypes": ["Ingress"]}
        version = "networking.k8s.io/v1"
        return {"apiVersion": version, "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    container = {"name": "c", "image": "alpine", "command": ["sleep", "3600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _annotations(obj: JsonObject) -> JsonObject:
    return obj["metadata"].get("annotations") or {}


def _is_leaving(obj: JsonObject) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def _fact(obj: JsonObject) -> Fact:
    metadata = obj["metadata"]
    return Fact(int(metadata["resourceVersion"]), metadata["uid"], _annotations(obj).get(VALUE, ""))
