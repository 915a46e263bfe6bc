"""ReplicaSet: keeps as many pods as asked for.

In: ReplicaSets and pods. Out: pods created from the template or deleted, adopted when they match and have no owner,
released when relabelled; the ReplicaSet's status. Rules: apps/v1 ReplicaSet; the order of deletion is the controller's
(unassigned, pending, not ready, youngest first).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
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
    selects,
)
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import NORMAL, WARNING, EventRecorder

REPLICASETS = "replicasets.apps"


class ReplicaSetController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._events = EventRecorder(registry, "replicaset-controller")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(
            self._registry, self._queue, {REPLICASETS: itself, "pods": self._of_pod}, self._reconcile
        )

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """Its controller, or every ReplicaSet that may adopt it."""
        namespace = change.object["metadata"]["namespace"]
        owner = controller_of(change.object)
        if owner is not None:
            return [(namespace, owner["name"])] if owner.get("kind") == "ReplicaSet" else ()
        sets = self._registry.list(REPLICASETS, namespace)
        return [place(rs) for rs in sets if selects(rs["spec"].get("selector"), change.object)]

    def _reconcile(self, key: Place) -> None:
        replicaset = self._registry.find(REPLICASETS, *key)
        if replicaset is None:
            return
        pods = self._claim(replicaset)
        active = [pod for pod in pods if not is_terminating(pod) and not is_finished(pod)]
        if not is_terminating(replicaset):
            missing = int(replicaset["spec"].get("replicas", 1)) - len(active)
            try:
                active += [self._create(replicaset) for _ in range(missing)]
            finally:
                if missing < 0:
                    active = self._delete(replicaset, active, -missing)
                self._update_status(replicaset, active)

    def _claim(self, replicaset: JsonObject) -> list[JsonObject]:
        """The pods that are ours, after adopting and releasing."""
        ours = []
        for pod in self._registry.list("pods", replicaset["metadata"]["namespace"]):
            matches = selects(replicaset["spec"].get("selector"), pod)
            if is_controlled_by(pod, replicaset):
                if matches or is_terminating(pod):
                    ours.append(pod)
                else:
                    self._registry.mutate("pods", *place(pod), lambda new: _release(new, replicaset))
            elif matches and controller_of(pod) is None and not (is_terminating(pod) or is_finished(pod)):
                ours.append(self._registry.mutate("pods", *place(pod), lambda new: adopt(new, replicaset)))
        return ours

    def _create(self, replicaset: JsonObject) -> JsonObject:
        namespace, name = place(replicaset)
        template = copy.deepcopy(replicaset["spec"]["template"])
        metadata = {
            key: template.get("metadata", {}).get(key) for key in ("labels", "annotations", "finalizers")
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {key: value for key, value in metadata.items() if value},
            "spec": template["spec"],
        }
        pod["metadata"] |= {"generateName": f"{name}-", "ownerReferences": [owner_reference(replicaset)]}
        try:
            created = self._registry.create("pods", namespace, pod)
        except ApiError as error:
            if not is_namespace_ending(error):
                self._events.event(replicaset, WARNING, "FailedCreate", f"Error creating: {error}")
            raise
        self._events.event(
            replicaset, NORMAL, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}"
        )
        return created

    def _delete(self, replicaset: JsonObject, active: list[JsonObject], count: int) -> list[JsonObject]:
        """The pods that stay."""
        ranked = sorted(active, key=_age, reverse=True)  # youngest first, then by what is lost least
        ranked.sort(key=_worth)
        for pod in ranked[:count]:
            self._registry.delete("pods", *place(pod))
            self._events.event(
                replicaset, NORMAL, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"
            )
        return ranked[count:]

    def _update_status(self, replicaset: JsonObject, active: list[JsonObject]) -> None:
        wait = int(replicaset["spec"].get("minReadySeconds") or 0)
        ready = [pod for pod in active if is_ready(pod)]
        pending = [wait - ready_for(pod) for pod in ready if ready_for(pod) < wait]
        if pending:
            self._queue.add_after(place(replicaset), min(pending) + 0.05)
        labels = replicaset["spec"]["template"].get("metadata", {}).get("labels") or {}
        labelled = [pod for pod in active if labels.items() <= (pod["metadata"].get("labels") or {}).items()]
        counts = {
            "fullyLabeledReplicas": len(labelled),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready) - len(pending),
        }

        def update(new: JsonObject) -> None:
            status = new.setdefault("status", {})
            status["replicas"] = len(active)
            status["observedGeneration"] = replicaset["metadata"].get("generation", 1)
            for name, count in counts.items():
                status.pop(name, None)
                if count:
                    status[name] = count

        self._registry.mutate(REPLICASETS, *place(replicaset), update, "status")


def _age(pod: JsonObject) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _worth(pod: JsonObject) -> tuple[bool, bool, bool]:
    """Smaller goes first."""
    return bool(pod["spec"].get("nodeName")), pod.get("status", {}).get("phase") == "Running", is_ready(pod)


def _release(pod: JsonObject, replicaset: JsonObject) -> None:
    owners = pod["metadata"]["ownerReferences"]
    pod["metadata"]["ownerReferences"] = [o for o in owners if o.get("uid") != replicaset["metadata"]["uid"]]
