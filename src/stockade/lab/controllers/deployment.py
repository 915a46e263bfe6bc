"""Deployment: one ReplicaSet per pod template, and the way from one to the next.

In: Deployments, their ReplicaSets (and for Recreate their pods). Out: ReplicaSets created, scaled and, beyond
``revisionHistoryLimit``, deleted; the Deployment's status, from which ``kubectl rollout status`` reads progress. Rules:
apps/v1 Deployment; conditions and reasons are the controller's (NewReplicaSetAvailable, ProgressDeadlineExceeded …).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.deployment_status import deadline, update_status
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import (
    adopt,
    controller_of,
    is_controlled_by,
    is_finished,
    is_terminating,
    owner_reference,
    selects,
)
from stockade.lab.controllers.replicaset import REPLICASETS
from stockade.lab.controllers.rollout import HASH_LABEL, bounds, new_size, old_sizes, size, template_hash
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import NORMAL, EventRecorder

DEPLOYMENTS = "deployments.apps"
REVISION = "deployment.kubernetes.io/revision"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class DeploymentController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._events = EventRecorder(registry, "deployment-controller")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        watches = {DEPLOYMENTS: itself, REPLICASETS: _owner, "pods": self._of_pod}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """Only Recreate looks at pods: it waits until the last old one is gone."""
        owner = controller_of(change.object)
        if change.type != "DELETED" or owner is None or owner.get("kind") != "ReplicaSet":
            return ()
        replicaset = self._registry.find(REPLICASETS, change.object["metadata"]["namespace"], owner["name"])
        return _owner(Change("MODIFIED", replicaset)) if replicaset else ()

    def _reconcile(self, key: Place) -> None:
        deployment = self._registry.find(DEPLOYMENTS, *key)
        if deployment is None or is_terminating(deployment):
            return
        found = sorted(self._claim(deployment), key=_revision)
        wanted = template_hash(deployment)
        new = next(
            (rs for rs in found if (rs["metadata"].get("labels") or {}).get(HASH_LABEL) == wanted), None
        )
        old = [rs for rs in found if rs is not new]
        if not deployment["spec"].get("paused"):
            new = self._roll(deployment, new, old)
        elif new is not None:
            self._scale(deployment, new, new_size(bounds(deployment["spec"]), new, old))
        self._finish(deployment, wanted)

    def _claim(self, deployment: JsonObject) -> list[JsonObject]:
        """Our ReplicaSets, after adopting those that match and have no owner (left by ``--cascade=orphan``)."""
        ours, selector = [], deployment["spec"]["selector"]
        for replicaset in self._registry.list(REPLICASETS, deployment["metadata"]["namespace"]):
            free = controller_of(replicaset) is None and not is_terminating(replicaset)
            if is_controlled_by(replicaset, deployment):
                ours.append(replicaset)
            elif free and selects(selector, replicaset):
                ours.append(
                    self._registry.mutate(REPLICASETS, *place(replicaset), lambda rs: adopt(rs, deployment))
                )
        return ours

    def _roll(
        self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject]
    ) -> JsonObject | None:
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            for replicaset in old:
                self._scale(deployment, replicaset, 0)
            if self._pods_left(old):
                return new
            return self._ensure_new(deployment, new, old, bounds(deployment["spec"]).desired)
        limits = bounds(deployment["spec"])
        new = self._ensure_new(deployment, new, old, new_size(limits, new, old))
        shrinking = old_sizes(limits, new, old)
        for replicaset in old:
            name = replicaset["metadata"]["name"]
            self._scale(deployment, replicaset, shrinking.get(name, size(replicaset)))
        return new

    def _pods_left(self, old: list[JsonObject]) -> bool:
        uids = {rs["metadata"]["uid"] for rs in old}
        pods = self._registry.list("pods", old[0]["metadata"]["namespace"]) if old else []
        return any((controller_of(pod) or {}).get("uid") in uids and not is_finished(pod) for pod in pods)

    def _ensure_new(
        self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject], count: int
    ) -> JsonObject:
        latest = max(map(_revision, old), default=0)
        if new is None:
            new = self._create(deployment, count, latest + 1)
        else:
            if _revision(new) <= latest:  # rolled back: the old template is the newest revision again
                revision = str(latest + 1)
                new = self._registry.mutate(REPLICASETS, *place(new), lambda rs: _annotate(rs, revision))
            new = self._scale(deployment, new, count)
        new = self._carry_annotations(deployment, new)
        revision = str(_revision(new))
        self._registry.mutate(DEPLOYMENTS, *place(deployment), lambda obj: _annotate(obj, revision))
        return new

    def _carry_annotations(self, deployment: JsonObject, new: JsonObject) -> JsonObject:
        """An annotation that came later: ``rollout history`` reads the cause of a change from the ReplicaSet."""
        carried = _carried(deployment)
        if carried.items() <= (new["metadata"].get("annotations") or {}).items():
            return new

        def annotate(obj: JsonObject) -> None:
            obj["metadata"].setdefault("annotations", {}).update(carried)

        return self._registry.mutate(REPLICASETS, *place(new), annotate)

    def _create(self, deployment: JsonObject, count: int, revision: int) -> JsonObject:
        namespace, name = place(deployment)
        spec = deployment["spec"]
        label = {HASH_LABEL: template_hash(deployment)}
        template = copy.deepcopy(spec["template"])
        metadata = template.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **label}
        selector = copy.deepcopy(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **label}
        replicaset: JsonObject = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{name}-{label[HASH_LABEL]}",
                "labels": metadata["labels"],
                "annotations": {**_carried(deployment), REVISION: str(revision)},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {"replicas": count, "selector": selector, "template": template},
        }
        if "minReadySeconds" in spec:
            replicaset["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        try:
            created = self._registry.create(REPLICASETS, namespace, replicaset)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                self._registry.mutate(DEPLOYMENTS, namespace, name, _count_collision, "status")
            raise
        self._tell(deployment, created, 0, count)
        return created

    def _scale(self, deployment: JsonObject, replicaset: JsonObject, count: int) -> JsonObject:
        before = size(replicaset)
        if before == count:
            return replicaset

        def scale(new: JsonObject) -> None:
            new["spec"]["replicas"] = count

        scaled = self._registry.mutate(REPLICASETS, *place(replicaset), scale)
        self._tell(deployment, scaled, before, count)
        return scaled

    def _tell(self, deployment: JsonObject, replicaset: JsonObject, before: int, count: int) -> None:
        if before != count:
            way, name = "up" if count > before else "down", replicaset["metadata"]["name"]
            text = f"Scaled {way} replica set {name} from {before} to {count}"
            self._events.event(deployment, NORMAL, "ScalingReplicaSet", text)

    def _finish(self, deployment: JsonObject, wanted: str) -> None:
        """Status, and old revisions that nobody will go back to."""
        namespace = deployment["metadata"]["namespace"]
        owned = [rs for rs in self._registry.list(REPLICASETS, namespace) if is_controlled_by(rs, deployment)]
        new = next(
            (rs for rs in owned if (rs["metadata"].get("labels") or {}).get(HASH_LABEL) == wanted), None
        )

        def update(obj: JsonObject) -> None:
            update_status(obj, new, owned)

        updated = self._registry.mutate(DEPLOYMENTS, *place(deployment), update, "status")
        wait = deadline(updated)
        if wait is not None:
            self._queue.add_after(place(deployment), wait)
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        empty = [
            rs for rs in owned if rs is not new and not size(rs) and not rs.get("status", {}).get("replicas")
        ]
        empty.sort(key=_revision)
        for replicaset in empty[: max(0, len(empty) - limit)]:
            self._registry.delete(REPLICASETS, *place(replicaset))


def _owner(change: Change) -> Iterable[Place]:
    owner = controller_of(change.object)
    if owner is None or owner.get("kind") != "Deployment":
        return ()
    return [(change.object["metadata"]["namespace"], owner["name"])]


def _count_collision(deployment: JsonObject) -> None:
    status = deployment.setdefault("status", {})
    status["collisionCount"] = (status.get("collisionCount") or 0) + 1


def _carried(deployment: JsonObject) -> dict[str, str]:
    """The Deployment's annotations that its newest ReplicaSet has too."""
    annotations = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in (LAST_APPLIED, REVISION)}


def _revision(obj: JsonObject) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if str(text).isdecimal() else 0


def _annotate(obj: JsonObject, revision: str) -> None:
    obj["metadata"].setdefault("annotations", {})[REVISION] = revision
