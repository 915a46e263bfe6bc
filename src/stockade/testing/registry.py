"""A registry in memory: the ``Registry`` protocol's reading side, and writes without validation, for tests of its watchers."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject


class FakeRegistry:
    """Stores what it is given; every write is a change that watchers see."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], JsonObject]] = {}
        self._watchers: dict[str, list[asyncio.Queue[Change]]] = {}
        self._versions = itertools.count(1)

    def find(self, resource: str, namespace: str, name: str) -> JsonObject | None:
        return self._objects.get(resource, {}).get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> JsonObject:
        found = self.find(resource, namespace, name)
        if found is None:
            message = f'{resource} "{name}" not found'
            raise ApiError({"kind": "Status", "code": 404, "reason": "NotFound", "message": message})
        return found

    def list(self, resource: str, namespace: str = "") -> list[JsonObject]:
        stored = self._objects.get(resource, {})
        return [obj for (where, _), obj in stored.items() if namespace in {"", where}]

    def create(self, resource: str, namespace: str, obj: JsonObject) -> JsonObject:
        stored = copy.deepcopy(obj)
        stored["metadata"]["namespace"] = namespace
        return self._store("ADDED", resource, stored)

    def mutate(
        self,
        resource: str,
        namespace: str,
        name: str,
        change: Callable[[JsonObject], None],
        subresource: str = "",  # noqa: ARG002  # the protocol's
    ) -> JsonObject:
        edited = copy.deepcopy(self.get(resource, namespace, name))
        change(edited)
        return self._store("MODIFIED", resource, edited)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        grace_seconds: int | None = None,  # noqa: ARG002  # the protocol's
    ) -> JsonObject:
        gone = self.get(resource, namespace, name)
        del self._objects[resource][namespace, name]
        self._tell("DELETED", resource, gone)
        return gone

    def remove(self, resource: str, namespace: str, name: str, uid: str = "") -> None:  # noqa: ARG002  # the protocol's
        self.delete(resource, namespace, name)

    async def watch(self, resource: str, namespace: str = "") -> AsyncIterator[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        watchers = self._watchers.setdefault(resource, [])
        watchers.append(queue)
        for obj in self.list(resource, namespace):
            queue.put_nowait(Change("ADDED", obj))
        try:
            while True:
                change = await queue.get()
                if namespace in {"", change.object["metadata"].get("namespace", "")}:
                    yield change
        finally:
            watchers.remove(queue)

    def _store(self, kind: str, resource: str, obj: JsonObject) -> JsonObject:
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects.setdefault(resource, {})[metadata.get("namespace", ""), metadata["name"]] = obj
        self._tell(kind, resource, obj)
        return obj

    def _tell(self, kind: str, resource: str, obj: JsonObject) -> None:
        for queue in self._watchers.get(resource, ()):
            queue.put_nowait(Change(kind, obj))
