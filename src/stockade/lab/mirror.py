"""A live copy of some resources of the registry, for parts that look at all objects together (DNS, Service proxy).

In: a Registry and the names of resources, of some perhaps only certain objects. Out: ``objects(resource)``, always current, and ``changed``, set after every change of those;
who waits for it clears it first and so takes a burst of changes as one. Objects are shared with the registry: read only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from stockade.lab.apiserver.registry import JsonObject, Registry


class Mirror:
    """Filled at construction; kept current while ``run`` runs."""

    def __init__(
        self,
        registry: Registry,
        resources: Sequence[str],
        keep: Mapping[str, Callable[[JsonObject], bool]] | None = None,
    ) -> None:
        """``keep`` says of a resource which objects matter: the others are not there."""
        self._registry = registry
        self._keep = keep or {}
        self._objects: dict[str, dict[tuple[str, str], JsonObject]] = {name: {} for name in resources}
        self.changed = asyncio.Event()
        for resource in resources:
            self._fill(resource)

    def objects(self, resource: str) -> Iterable[JsonObject]:
        return self._objects[resource].values()

    async def run(self) -> None:
        """Ends when cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in self._objects:
                group.create_task(self._follow(resource), name=f"mirror {resource}")

    def _fill(self, resource: str) -> None:
        keep = self._keep.get(resource, _everything)
        self._objects[resource] = {_key(obj): obj for obj in self._registry.list(resource) if keep(obj)}
        self.changed.set()

    async def _follow(self, resource: str) -> None:
        self._fill(resource)  # again: something may have gone between construction and the start of the watch
        objects = self._objects[resource]
        keep = self._keep.get(resource, _everything)
        async for change in self._registry.watch(resource):
            key = _key(change.object)
            if change.type != "DELETED" and keep(change.object):
                objects[key] = change.object
            elif objects.pop(key, None) is None:
                continue
            self.changed.set()


def _everything(obj: JsonObject) -> bool:
    del obj
    return True


def _key(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
