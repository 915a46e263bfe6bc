"""DaemonSet: one pod on each node that suits it.

In: DaemonSets, nodes and pods. Out: pods bound to their node by affinity, so that the scheduler places them; replaced within
``maxUnavailable`` or ``maxSurge`` on an update; ControllerRevisions; the status that ``kubectl rollout status`` reads. Rules: apps/v1
DaemonSet and the tolerations that its controller adds.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.nodes import bind_by_affinity, bound_node, suits, tolerate_all_conditions
from stockade.lab.controllers.objects import is_finished, is_ready, is_terminating
from stockade.lab.controllers.podset import PodSet, is_available, owner_place, pod_from_template
from stockade.lab.controllers.revisions import HASH_LABEL, current_hash, prune
from stockade.lab.controllers.rollout import share
from stockade.lab.controllers.workqueue import WorkQueue

DAEMONSETS = "daemonsets.apps"


class DaemonSetController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pods = PodSet(registry, "daemonset-controller")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        watches = {DAEMONSETS: itself, "pods": _of_pod, "nodes": self._all}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _all(self, _: Change) -> Iterable[Place]:
        return [place(owner) for owner in self._registry.list(DAEMONSETS)]

    def _reconcile(self, key: Place) -> None:
        owner = self._registry.find(DAEMONSETS, *key)
        if owner is None or is_terminating(owner):
            return
        wanted = current_hash(self._registry, owner)
        template = self._new_pod(owner, wanted)
        nodes = [n["metadata"]["name"] for n in self._registry.list("nodes") if suits(n, template)]
        held = self._by_node(owner)
        try:
            self._place(owner, wanted, nodes, held)
            self._update(owner, wanted, nodes, held)
        finally:
            self._finish(owner, wanted, nodes)

    def _by_node(self, owner: JsonObject) -> dict[str, list[JsonObject]]:
        held: dict[str, list[JsonObject]] = {}
        for pod in self._pods.claim(owner, owner["spec"]["selector"]):
            held.setdefault(bound_node(pod), []).append(pod)
        return held

    def _place(
        self, owner: JsonObject, wanted: str, nodes: list[str], held: dict[str, list[JsonObject]]
    ) -> None:
        """One pod where there is none; none where there should be none; an ended one makes place for another."""
        for node, pods in held.items():
            for pod in pods:
                if (is_finished(pod) or node not in nodes) and not is_terminating(pod):
                    self._pods.delete(owner, pod)
        for node in nodes:
            if not held.get(node):
                pod = self._new_pod(owner, wanted)
                bind_by_affinity(pod, node)
                held[node] = [self._pods.create(owner, pod)]

    def _update(
        self, owner: JsonObject, wanted: str, nodes: list[str], held: dict[str, list[JsonObject]]
    ) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        surge = share(rolling.get("maxSurge", 0), len(nodes), round_up=True)
        down = share(rolling.get("maxUnavailable", 1), len(nodes), round_up=True)
        unavailable = sum(
            not any(is_available(self._queue, owner, pod) for pod in held[node]) for node in nodes
        )
        surging = sum(len(held[node]) > 1 for node in nodes)
        for node in nodes:
            old = [pod for pod in held[node] if _hash(pod) != wanted and not is_terminating(pod)]
            new = [pod for pod in held[node] if _hash(pod) == wanted]
            if not old:
                continue
            replaced = any(is_available(self._queue, owner, pod) for pod in new)
            broken = not any(is_available(self._queue, owner, pod) for pod in old)
            if replaced or broken or (not surge and unavailable < down):
                unavailable += not (replaced or broken)
                for pod in old:
                    self._pods.delete(owner, pod)
            elif surge and not new and surging < surge:
                pod = self._new_pod(owner, wanted)
                bind_by_affinity(pod, node)
                self._pods.create(owner, pod)
                surging += 1

    def _new_pod(self, owner: JsonObject, wanted: str) -> JsonObject:
        generation = str(owner["metadata"].get("generation", 1))
        pod = pod_from_template(owner, labels={HASH_LABEL: wanted, "pod-template-generation": generation})
        tolerate_all_conditions(pod)
        return pod

    def _finish(self, owner: JsonObject, wanted: str, nodes: list[str]) -> None:
        held = self._by_node(owner)
        living = {
            node: [pod for pod in pods if not is_terminating(pod) and not is_finished(pod)]
            for node, pods in held.items()
        }
        placed = [living[node] for node in nodes if living.get(node)]
        available = sum(any(is_available(self._queue, owner, pod) for pod in pods) for pods in placed)
        counts = {
            "currentNumberScheduled": len(placed),
            "desiredNumberScheduled": len(nodes),
            "numberMisscheduled": sum(bool(pods) for node, pods in living.items() if node not in nodes),
            "numberReady": sum(any(is_ready(pod) for pod in pods) for pods in placed),
            "observedGeneration": owner["metadata"].get("generation", 1),
        }
        optional = {
            "updatedNumberScheduled": sum(any(_hash(pod) == wanted for pod in pods) for pods in placed),
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
        }
        counts |= {name: count for name, count in optional.items() if count}

        def update(new: JsonObject) -> None:
            status = new.get("status") or {}
            new["status"] = {**{k: v for k, v in status.items() if k not in optional}, **counts}

        self._registry.mutate(DAEMONSETS, *place(owner), update, "status")
        prune(self._registry, owner, {wanted, *(_hash(pod) for pods in living.values() for pod in pods)})


def _of_pod(change: Change) -> Iterable[Place]:
    return owner_place(change.object, "DaemonSet")


def _hash(pod: JsonObject) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))
