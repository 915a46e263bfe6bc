"""What every controller that owns pods does with them: claim, create from a template, delete, and say so.

In: the owner, its selector and its template. Out: pods. Called by the controllers of ReplicaSet, ReplicationController, StatefulSet,
DaemonSet and Job. Rules: PodControllerRefManager (adopt what matches and has no owner, release what no longer matches).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry
from stockade.lab.controllers.loop import Place, place
from stockade.lab.controllers.objects import (
    adopt,
    controller_of,
    is_controlled_by,
    is_finished,
    is_namespace_ending,
    is_ready,
    is_terminating,
    owner_reference,
    ready_for,
    selecting,
)
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import NORMAL, WARNING, EventRecorder


class PodSet:
    """``component`` is the controller's name in events."""

    def __init__(self, registry: Registry, component: str) -> None:
        self._registry = registry
        self._events = EventRecorder(registry, component)

    def claim(self, owner: JsonObject, selector: Mapping[str, Any] | None) -> list[JsonObject]:
        """The pods that are the owner's, after adopting and releasing."""
        ours, selected = [], selecting(selector)
        for pod in self._registry.list("pods", owner["metadata"]["namespace"]):
            matches = selected(pod)
            if is_controlled_by(pod, owner):
                if matches or is_terminating(pod):
                    ours.append(pod)
                else:
                    self._registry.mutate("pods", *place(pod), lambda new: _release(new, owner))
            elif matches and not is_terminating(owner) and _is_free(pod):
                ours.append(self._registry.mutate("pods", *place(pod), lambda new: adopt(new, owner)))
        return ours

    def create(self, owner: JsonObject, pod: JsonObject) -> JsonObject:
        """Raises ApiError, after an event that tells the user."""
        try:
            created = self._registry.create("pods", owner["metadata"]["namespace"], pod)
        except ApiError as error:
            if not is_namespace_ending(error):
                self._events.event(owner, WARNING, "FailedCreate", f"Error creating: {error}")
            raise
        self._events.event(owner, NORMAL, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")
        return created

    def delete(self, owner: JsonObject, pod: JsonObject) -> None:
        self._registry.delete("pods", *place(pod))
        self._events.event(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    def tell(self, owner: JsonObject, reason: str, text: str, *, warning: bool = False) -> None:
        self._events.event(owner, WARNING if warning else NORMAL, reason, text)


def _is_free(pod: JsonObject) -> bool:
    return controller_of(pod) is None and not (is_terminating(pod) or is_finished(pod))


def pod_from_template(
    owner: JsonObject, *, name: str = "", labels: Mapping[str, str] | None = None
) -> JsonObject:
    """A pod of the owner, yet to be created; without ``name`` the server makes one up."""
    template = copy.deepcopy(owner["spec"].get("template") or {})
    given = template.get("metadata") or {}
    metadata: JsonObject = {key: given[key] for key in ("annotations", "finalizers") if given.get(key)}
    metadata["labels"] = {**(given.get("labels") or {}), **(labels or {})}
    metadata["ownerReferences"] = [owner_reference(owner)]
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def owner_place(pod: JsonObject, kind: str, group: str = "apps") -> list[tuple[str, str]]:
    """The key of the pod's controller when that is of this kind."""
    owner = controller_of(pod)
    if owner is None or owner.get("kind") != kind or not _is_of_group(owner, group):
        return []
    return [(pod["metadata"]["namespace"], owner["name"])]


def _is_of_group(owner: JsonObject, group: str) -> bool:
    return str(owner.get("apiVersion", "")).rpartition("/")[0] == group


def _release(pod: JsonObject, owner: JsonObject) -> None:
    owners = pod["metadata"]["ownerReferences"]
    pod["metadata"]["ownerReferences"] = [o for o in owners if o.get("uid") != owner["metadata"]["uid"]]


def is_available(queue: WorkQueue[Place], owner: JsonObject, pod: JsonObject) -> bool:
    """Ready for ``spec.minReadySeconds`` of its owner, which is looked at again when a pod will be."""
    wait = int(owner["spec"].get("minReadySeconds") or 0)
    if not is_ready(pod) or is_terminating(pod):
        return False
    if ready_for(pod) < wait:
        queue.add_after(place(owner), wait - ready_for(pod) + 0.05)
        return False
    return True
