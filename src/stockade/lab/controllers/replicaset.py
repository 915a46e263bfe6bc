"""ReplicaSet and ReplicationController: keep as many pods as asked for.

In: the objects and pods. Out: pods created from the template or deleted, adopted when they match and have no owner,
released when relabelled; the object's status. Rules: apps/v1 ReplicaSet, core/v1 ReplicationController (the same with a
selector that is a plain map); the order of deletion is the controller's (unassigned, pending, not ready, youngest first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import (
    controller_of,
    is_finished,
    is_ready,
    is_terminating,
    ready_for,
    selects,
)
from stockade.lab.controllers.podset import PodSet, owner_place, pod_from_template
from stockade.lab.controllers.workqueue import WorkQueue

REPLICASETS = "replicasets.apps"


_BURST = 50


class Sort(msgspec.Struct, frozen=True):
    """Which of the two kinds; ``selector`` reads a spec's selector as a LabelSelector."""

    resource: str
    kind: str
    group: str
    component: str
    selector: Callable[[JsonObject], JsonObject]


def _label_selector(spec: JsonObject) -> JsonObject:
    return spec.get("selector") or {}


def _map_selector(spec: JsonObject) -> JsonObject:
    return {"matchLabels": spec["selector"]} if spec.get("selector") else {}


REPLICA_SET = Sort(REPLICASETS, "ReplicaSet", "apps", "replicaset-controller", _label_selector)
REPLICATION_CONTROLLER = Sort(
    "replicationcontrollers", "ReplicationController", "", "replication-controller", _map_selector
)


class ReplicaSetController:
    def __init__(self, registry: Registry, sort: Sort = REPLICA_SET) -> None:
        self._registry = registry
        self._sort = sort
        self._pods = PodSet(registry, sort.component)
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        watches = {self._sort.resource: itself, "pods": self._of_pod}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """Its controller, or every ReplicaSet that may adopt it."""
        pod = change.object
        if controller_of(pod) is not None:
            return owner_place(pod, self._sort.kind, self._sort.group)
        sets = self._registry.list(self._sort.resource, pod["metadata"]["namespace"])
        return [place(rs) for rs in sets if selects(self._sort.selector(rs["spec"]), pod)]

    def _reconcile(self, key: Place) -> None:
        owner = self._registry.find(self._sort.resource, *key)
        if owner is None:
            return
        pods = self._pods.claim(owner, self._sort.selector(owner["spec"]))
        active = [pod for pod in pods if not is_terminating(pod) and not is_finished(pod)]
        if not is_terminating(owner):
            missing = int(owner["spec"].get("replicas", 1)) - len(active)
            try:
                # In bursts, so that nothing else has to wait for the last: the new pods bring us back.
                burst = range(min(missing, _BURST))
                active += [self._pods.create(owner, pod_from_template(owner)) for _ in burst]
            finally:
                if missing < 0:
                    active = self._delete(owner, active, -missing)
                self._update_status(owner, active)

    def _delete(self, owner: JsonObject, active: list[JsonObject], count: int) -> list[JsonObject]:
        """The pods that stay."""
        ranked = sorted(active, key=_age, reverse=True)  # youngest first, then by what is lost least
        ranked.sort(key=_worth)
        for pod in ranked[:count]:
            self._pods.delete(owner, pod)
        return ranked[count:]

    def _update_status(self, owner: JsonObject, active: list[JsonObject]) -> None:
        wait = int(owner["spec"].get("minReadySeconds") or 0)
        ready = [pod for pod in active if is_ready(pod)]
        pending = [wait - ready_for(pod) for pod in ready if ready_for(pod) < wait]
        if pending:
            self._queue.add_after(place(owner), min(pending) + 0.05)
        labels = (owner["spec"].get("template") or {}).get("metadata", {}).get("labels") or {}
        labelled = [pod for pod in active if labels.items() <= (pod["metadata"].get("labels") or {}).items()]
        counts = {
            "fullyLabeledReplicas": len(labelled),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready) - len(pending),
        }

        def update(new: JsonObject) -> None:
            status = new.setdefault("status", {})
            status["replicas"] = len(active)
            status["observedGeneration"] = owner["metadata"].get("generation", 1)
            for name, count in counts.items():
                status.pop(name, None)
                if count:
                    status[name] = count

        self._registry.mutate(self._sort.resource, *place(owner), update, "status")


def _age(pod: JsonObject) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _worth(pod: JsonObject) -> tuple[bool, bool, bool]:
    """Smaller goes first."""
    return bool(pod["spec"].get("nodeName")), pod.get("status", {}).get("phase") == "Running", is_ready(pod)
