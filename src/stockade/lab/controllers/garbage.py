"""Garbage: an object whose owners are all gone goes too.

In: every object with ``metadata.ownerReferences``, and the end of every object. Out: deletions; a reference to an owner
that is gone is taken out while another owner lives. Rules: garbage collection by ownerReferences uid (an owner of the same
name with another uid is another object); an owner of a kind not served here is taken to live.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Keys, place, run_loop
from stockade.lab.controllers.objects import is_terminating
from stockade.lab.controllers.resources import CLUSTER_OF, NAMESPACED, RESOURCE_OF
from stockade.lab.controllers.workqueue import WorkQueue

_Key = tuple[str, str, str]
"""Resource, namespace, name."""

_WATCHED = (*(resource for resource in NAMESPACED if resource != "events"), *CLUSTER_OF.values())


class GarbageCollector:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[_Key] = WorkQueue()
        self._dependents: dict[str, set[_Key]] = {}
        self._owners: dict[_Key, frozenset[str]] = {}

    async def run(self) -> None:
        watches: dict[str, Keys[_Key]] = {resource: partial(self._changed, resource) for resource in _WATCHED}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

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
        if gone:
            return list(self._dependents.get(metadata["uid"], ()))
        return [key] if uids != before else ()

    def _reconcile(self, key: _Key) -> None:
        obj = self._registry.find(*key)
        if obj is None or is_terminating(obj):
            return
        owners = obj["metadata"].get("ownerReferences") or []
        living = [owner for owner in owners if self._lives(owner, key[1])]
        if owners and not living:
            self._registry.delete(*key)
        elif len(living) < len(owners):

            def disown(new: JsonObject) -> None:
                new["metadata"]["ownerReferences"] = living

            self._registry.mutate(*key, disown)

    def _lives(self, owner: JsonObject, namespace: str) -> bool:
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
            return True
        return found is not None and found["metadata"]["uid"] == owner["uid"]
