"""StatefulSet: pods with stable names, one after the other.

In: StatefulSets and pods. Out: pods NAME-0, NAME-1 … created in order and deleted in reverse order, replaced one by one on an update;
ControllerRevisions; the status that ``kubectl rollout status`` reads. Rules: apps/v1 StatefulSet (podManagementPolicy, ordinals,
updateStrategy with partition). There are no PersistentVolumes in the lab: a volumeClaimTemplate becomes an emptyDir of the pod.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import is_finished, is_ready, is_terminating
from stockade.lab.controllers.podset import PodSet, is_available, owner_place, pod_from_template
from stockade.lab.controllers.revisions import HASH_LABEL, current_hash, prune, revision_name
from stockade.lab.controllers.workqueue import WorkQueue

STATEFULSETS = "statefulsets.apps"
NO_CLAIMS = (
    "The lab has no PersistentVolumes: volume claim templates are emptyDir volumes, which end with their pod"
)


class StatefulSetController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pods = PodSet(registry, "statefulset-controller")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        watches = {STATEFULSETS: itself, "pods": _of_pod}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _reconcile(self, key: Place) -> None:
        owner = self._registry.find(STATEFULSETS, *key)
        if owner is None or is_terminating(owner):
            return
        wanted = current_hash(self._registry, owner)
        pods = {pod["metadata"]["name"]: pod for pod in self._pods.claim(owner, owner["spec"]["selector"])}
        try:
            if self._scale(owner, pods, wanted):
                self._update(owner, pods, wanted)
        finally:
            self._finish(owner, wanted)

    def _scale(self, owner: JsonObject, pods: dict[str, JsonObject], wanted: str) -> bool:
        """The next step towards the wanted pods; True when all are there and ready, and none too many."""
        names, in_order = _names(owner), owner["spec"].get("podManagementPolicy") != "Parallel"
        complete = True
        for name in names:
            pod = pods.get(name)
            if pod is None:
                self._create(owner, name, wanted)
            elif is_finished(pod) and not is_terminating(pod):
                self._pods.delete(owner, pod)  # its end brings us back, to create it again
            elif is_available(self._queue, owner, pod):
                continue
            complete = False
            if in_order:
                return False
        surplus = sorted((pod for name, pod in pods.items() if name not in names), key=_ordinal, reverse=True)
        for pod in surplus:
            complete = False
            if not is_terminating(pod):
                self._pods.delete(owner, pod)
            if in_order:
                return False
        return complete

    def _update(self, owner: JsonObject, pods: dict[str, JsonObject], wanted: str) -> None:
        """Replace one pod of an older revision, the highest ordinal first."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        for name in reversed(_names(owner)):
            pod = pods[name]
            if _ordinal(pod) >= partition and _hash(pod) != wanted:
                self._pods.delete(owner, pod)
                return

    def _create(self, owner: JsonObject, name: str, wanted: str) -> None:
        labels = {
            HASH_LABEL: revision_name(owner["metadata"]["name"], wanted),
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": name.rpartition("-")[2],
        }
        pod = pod_from_template(owner, name=name, labels=labels)
        pod["spec"] |= {"hostname": name, "subdomain": owner["spec"].get("serviceName") or ""}
        claims = owner["spec"].get("volumeClaimTemplates") or []
        if claims:
            names = {claim["metadata"]["name"] for claim in claims}
            kept = [volume for volume in pod["spec"].get("volumes") or [] if volume["name"] not in names]
            pod["spec"]["volumes"] = [*kept, *({"name": each, "emptyDir": {}} for each in sorted(names))]
            self._pods.tell(owner, "NoPersistentVolumes", NO_CLAIMS, warning=True)
        self._pods.create(owner, pod)

    def _finish(self, owner: JsonObject, wanted: str) -> None:
        pods = [pod for pod in self._pods.claim(owner, owner["spec"]["selector"]) if not is_finished(pod)]
        name, count = owner["metadata"]["name"], int(owner["spec"].get("replicas", 1))
        newest = revision_name(name, wanted)
        living = [pod for pod in pods if not is_terminating(pod)]
        updated = [pod for pod in living if _hash(pod) == wanted]
        ready = [pod for pod in living if is_ready(pod)]
        available = [pod for pod in ready if is_available(self._queue, owner, pod)]

        def update(new: JsonObject) -> None:
            status = new.setdefault("status", {})
            done = len(updated) == len(pods) == len(ready) == count
            current = newest if done else status.get("currentRevision") or newest
            status |= {
                "observedGeneration": owner["metadata"].get("generation", 1),
                "replicas": len(pods),
                "readyReplicas": len(ready),
                "availableReplicas": len(available),
                "updatedReplicas": len(updated),
                "currentReplicas": sum(1 for pod in living if _revision(pod) == current),
                "currentRevision": current,
                "updateRevision": newest,
                "collisionCount": 0,
            }
            for field in ("readyReplicas", "updatedReplicas", "currentReplicas"):
                if not status[field]:
                    del status[field]

        self._registry.mutate(STATEFULSETS, *place(owner), update, "status")
        prune(self._registry, owner, {wanted, *map(_hash, pods)})


def _of_pod(change: Change) -> Iterable[Place]:
    return owner_place(change.object, "StatefulSet")


def _names(owner: JsonObject) -> list[str]:
    spec, name = owner["spec"], owner["metadata"]["name"]
    first = int((spec.get("ordinals") or {}).get("start") or 0)
    return [f"{name}-{number}" for number in range(first, first + int(spec.get("replicas", 1)))]


def _ordinal(pod: JsonObject) -> int:
    text = pod["metadata"]["name"].rpartition("-")[2]
    return int(text) if text.isdecimal() else 0


def _revision(pod: JsonObject) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def _hash(pod: JsonObject) -> str:
    return _revision(pod).rpartition("-")[2]
