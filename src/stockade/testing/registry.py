"""An in-memory ``lab.apiserver.registry.Registry``, for tests of controllers and of the streaming endpoints.

It names, counts versions and terminates as the API server does, but neither defaults nor validates.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject

_CLUSTER_SCOPED = {"namespaces", "nodes", "customresourcedefinitions.apiextensions.k8s.io"}
_NOW = "2026-01-01T00:00:00Z"

_Key = tuple[str, str, str]


class MemoryRegistry:
    """``changes`` is every change so far, oldest first, as (type, resource, name)."""

    def __init__(self) -> None:
        self._objects: dict[_Key, JsonObject] = {}
        self._versions = itertools.count(1)
        self._watchers: list[tuple[str, str, asyncio.Queue[Change]]] = []
        self.changes: list[tuple[str, str, str]] = []

    def get(self, resource: str, namespace: str, name: str) -> JsonObject:
        found = self.find(resource, namespace, name)
        if found is None:
            raise _error(404, "NotFound", f'{resource} "{name}" not found')
        return found

    def find(self, resource: str, namespace: str, name: str) -> JsonObject | None:
        return self._objects.get((resource, namespace, name))

    def list(self, resource: str, namespace: str = "") -> list[JsonObject]:
        wanted = {namespace} if namespace else None
        return [
            o for (r, ns, _), o in self._objects.items() if r == resource and (wanted is None or ns in wanted)
        ]

    def serves(self, resource: str) -> bool:
        return bool(resource)

    def custom_resources(self) -> dict[tuple[str, str], tuple[str, bool]]:
        return {}

    def create(self, resource: str, namespace: str, obj: JsonObject) -> JsonObject:
        created = copy.deepcopy(obj)
        meta = created.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = meta.get("generateName", "") + secrets.token_hex(3)[:5]
        if resource not in _CLUSTER_SCOPED:
            meta["namespace"] = namespace
            home = self.find("namespaces", "", namespace)
            if home is not None and "deletionTimestamp" in home["metadata"]:
                raise _error(403, "Forbidden", f"namespace {namespace} is being terminated")
        key = (resource, namespace, meta["name"])
        if key in self._objects:
            raise _error(409, "AlreadyExists", f'{resource} "{meta["name"]}" already exists')
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=_NOW, generation=1)
        return self._store("ADDED", key, created)

    def mutate(
        self,
        resource: str,
        namespace: str,
        name: str,
        change: Callable[[JsonObject], None],
        subresource: str = "",
    ) -> JsonObject:
        old = self.get(resource, namespace, name)
        new = copy.deepcopy(old)
        change(new)
        if subresource == "status":
            new = {**copy.deepcopy(old), "status": new.get("status", {})}
        if new == old:
            return old
        released = old["metadata"].get("finalizers") and not new["metadata"].get("finalizers")
        if released and "deletionTimestamp" in new["metadata"]:
            return self._drop((resource, namespace, name))
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        return self._store("MODIFIED", (resource, namespace, name), new)

    def delete(
        self, resource: str, namespace: str, name: str, grace_seconds: int | None = None
    ) -> JsonObject:
        obj = self.get(resource, namespace, name)
        on_node = resource == "pods" and obj.get("spec", {}).get("nodeName")
        if not (on_node or resource == "namespaces" or obj["metadata"].get("finalizers")):
            return self._drop((resource, namespace, name))

        def terminate(new: JsonObject) -> None:
            new["metadata"].setdefault("deletionTimestamp", _NOW)
            new["metadata"].setdefault(
                "deletionGracePeriodSeconds", 30 if grace_seconds is None else grace_seconds
            )
            if resource == "namespaces":
                new["status"] = {"phase": "Terminating"}

        return self.mutate(resource, namespace, name, terminate)

    def remove(self, resource: str, namespace: str, name: str, uid: str = "") -> None:
        obj = self.find(resource, namespace, name)
        if obj is not None and (not uid or obj["metadata"]["uid"] == uid):
            self._drop((resource, namespace, name))

    async def watch(self, resource: str, namespace: str = "") -> AsyncIterator[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        for obj in self.list(resource, namespace):
            queue.put_nowait(Change("ADDED", obj))
        entry = (resource, namespace, queue)
        self._watchers.append(entry)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove(entry)

    def _store(self, type_: str, key: _Key, obj: JsonObject) -> JsonObject:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[key] = obj
        self._tell(type_, key, obj)
        return obj

    def _drop(self, key: _Key) -> JsonObject:
        obj = copy.deepcopy(self._objects.pop(key))
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell("DELETED", key, obj)
        return obj

    def _tell(self, type_: str, key: _Key, obj: JsonObject) -> None:
        self.changes.append((type_, key[0], key[2]))
        for resource, namespace, queue in self._watchers:
            if resource == key[0] and namespace in {"", key[1]}:
                queue.put_nowait(Change(type_, obj))


def _error(code: int, reason: str, message: str) -> ApiError:
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return ApiError(status)
