"""Garbage: an object whose owners are all gone goes too.

In: every object with ``metadata.ownerReferences``, and the end of every object. Out: deletions; a reference to an owner
that is gone is taken out while another owner lives. Rules: garbage collection by ownerReferences uid (an owner of the same
name with another uid is another object); foreground deletion ends what blocks its owner first; an owner of a kind not served here is taken
to live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from stockade.lab.apiserver.crd.definition import DEFINITIONS
from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.apiserver.termination import FOREGROUND
from stockade.lab.controllers.loop import Keys, feed, place, run_loop
from stockade.lab.controllers.objects import is_terminating
from stockade.lab.controllers.resources import CLUSTER_OF, NAMESPACED, RESOURCE_OF
from stockade.lab.controllers.workqueue import WorkQueue

_Key = tuple[str, str, str]
"""Resource, namespace, name."""

NOBODY: JsonObject = {"metadata": {"uid": ""}}
_WATCHED = (*(resource for resource in NAMESPACED if resource != "events"), *CLUSTER_OF.values())


class GarbageCollector:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[_Key] = WorkQueue()
        self._dependents: dict[str, set[_Key]] = {}
        self._owners: dict[_Key, frozenset[str]] = {}
        self._waiting: dict[str, _Key] = {}

    async def run(self) -> None:
        watches: dict[str, Keys[_Key]] = {resource: partial(self._changed, resource) for resource in _WATCHED}
        async with asyncio.TaskGroup() as group:
            group.create_task(run_loop(self._registry, self._queue, watches, self._reconcile))
            group.create_task(self._follow_definitions(group))

    async def _follow_definitions(self, group: asyncio.TaskGroup) -> None:
        """Objects of custom kinds own and are owned like all others."""
        followed: set[str] = set()
        async for _ in self._registry.watch(DEFINITIONS):
            for resource, _namespaced in self._registry.custom_resources().values():
                if resource not in followed:
                    followed.add(resource)
                    keys = partial(self._changed, resource)
                    group.create_task(feed(self._registry, self._queue, resource, keys))

    def _changed(self, resource: str, change: Change) -> Iterable[_Key]:
        """Keep the index of who depends on whom; what to look at: what depends on the dead, and whatever has owners."""
        metadata = change.object["metadata"]
        key = (resource, *place(change.object))
        gone = change.type == "DELETED"
        uids = frozenset() if gone else frozenset(o["uid"] for o in metadata.get("ownerReferences") or [])
        before = self._owners.pop(key, frozenset())
        for uid in before - uids:
            self._dependents[uid].discard(key)
            if not self._dependents[uid]:
                del self._dependents[uid]
        if uids:
            self._owners[key] = uids
            for uid in uids:
                self._dependents.setdefault(uid, set()).add(key)
        waiting = [self._waiting[uid] for uid in before if uid in self._waiting]
        if gone:
            return [*self._dependents.get(metadata["uid"], ()), *waiting]
        return [key, *waiting] if uids != before or _is_foreground(change.object) else ()

    def _reconcile(self, key: _Key) -> None:
        obj = self._registry.find(*key)
        if obj is not None and _is_foreground(obj):
            self._end_dependents(key, obj)
        if obj is None or is_terminating(obj):
            return
        owners = obj["metadata"].get("ownerReferences") or []
        living = [owner for owner in owners if self._lives(owner, key[1])]
        if owners and not living:
            self._registry.delete(*key)
        elif len(living) < len(owners):
            self._registry.mutate(*key, partial(_leave, living))

    def _end_dependents(self, key: _Key, owner: JsonObject) -> None:
        """Foreground deletion: those that block their owner's end go first, and what depends on them before."""
        uid = owner["metadata"]["uid"]
        for each in list(self._dependents.get(uid, ())):
            obj = self._registry.find(*each)
            if obj is not None and not is_terminating(obj):
                self._end_dependent(each, obj)
        if self._blocked(uid):
            self._waiting[uid] = key
            return
        self._waiting.pop(uid, None)
        self._registry.mutate(*key, _let_go)

    def _end_dependent(self, key: _Key, obj: JsonObject) -> None:
        """What another owner keeps only leaves this one."""
        keepers = [o for o in obj["metadata"].get("ownerReferences") or [] if self._keeps(o, key[1])]
        if keepers:
            self._registry.mutate(*key, partial(_leave, keepers))
            return
        if self._dependents.get(obj["metadata"]["uid"]):
            self._registry.mutate(*key, _hold)
        self._registry.delete(*key)

    def _blocked(self, uid: str) -> bool:
        for each in self._dependents.get(uid, ()):
            obj = self._registry.find(*each)
            owners = (obj or {"metadata": {}})["metadata"].get("ownerReferences") or []
            if any(o.get("uid") == uid and o.get("blockOwnerDeletion") for o in owners):
                return True
        return False

    def _keeps(self, owner: JsonObject, namespace: str) -> bool:
        """An owner that lives, and does not wait for its dependents to go."""
        found = self._owner(owner, namespace)
        return found is None or (found["metadata"]["uid"] == owner["uid"] and not _is_foreground(found))

    def _lives(self, owner: JsonObject, namespace: str) -> bool:
        found = self._owner(owner, namespace)
        return found is None or found["metadata"]["uid"] == owner["uid"]

    def _owner(self, owner: JsonObject, namespace: str) -> JsonObject | None:
        """NOBODY when it is gone; None when its kind is not served here."""
        kind = (owner.get("apiVersion", ""), owner.get("kind", ""))
        custom = self._registry.custom_resources()
        if kind in RESOURCE_OF:
            found = self._registry.find(RESOURCE_OF[kind], namespace, owner["name"])
        elif kind in CLUSTER_OF:
            found = self._registry.find(CLUSTER_OF[kind], "", owner["name"])
        elif kind in custom:
            resource, namespaced = custom[kind]
            found = self._registry.find(resource, namespace if namespaced else "", owner["name"])
        else:
            return None
        return NOBODY if found is None else found


def _is_foreground(obj: JsonObject) -> bool:
    return is_terminating(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or ())


def _leave(owners: list[JsonObject], obj: JsonObject) -> None:
    obj["metadata"]["ownerReferences"] = owners


def _hold(obj: JsonObject) -> None:
    obj["metadata"]["finalizers"] = [*(obj["metadata"].get("finalizers") or []), FOREGROUND]


def _let_go(obj: JsonObject) -> None:
    left = [each for each in obj["metadata"].get("finalizers") or [] if each != FOREGROUND]
    obj["metadata"]["finalizers"] = left
