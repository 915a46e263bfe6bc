"""Scheduler: gives each new pod a node.

In: pods without ``spec.nodeName``, nodes. Out: ``spec.nodeName`` and the condition PodScheduled, events Scheduled and
FailedScheduling. Which nodes fit, ``fit`` says; of those the one with the fewest pods is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.fit import Refusal, message, refusal
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import condition, is_finished, is_terminating, set_condition
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import NORMAL, WARNING, EventRecorder


class Scheduler:
    """``node_names`` limits the nodes considered; empty means all."""

    def __init__(self, registry: Registry, node_names: Collection[str] = ()) -> None:
        self._registry = registry
        self._node_names = frozenset(node_names)
        self._events = EventRecorder(registry, "default-scheduler")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(
            self._registry, self._queue, {"pods": self._of_pod, "nodes": self._waiting_pods}, self._reconcile
        )

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """A new pod; and when one ends, those that may have waited for its place."""
        if change.type == "DELETED" or is_finished(change.object):
            return self._waiting()
        return itself(change) if _needs_node(change.object) else ()

    def _waiting_pods(self, change: Change) -> Iterable[Place]:
        """A node appeared or changed: look again at every pod that has none."""
        return () if change.type == "DELETED" else self._waiting()

    def _waiting(self) -> list[Place]:
        return [place(pod) for pod in self._registry.list("pods") if _needs_node(pod)]

    def _reconcile(self, key: Place) -> None:
        pod = self._registry.find("pods", *key)
        if pod is None or not _needs_node(pod):
            return
        nodes = [
            n
            for n in self._registry.list("nodes")
            if not self._node_names or n["metadata"]["name"] in self._node_names
        ]
        placed = self._placed()
        refusals: dict[str, Refusal | None] = {}
        for node in nodes:
            name = node["metadata"]["name"]
            refusals[name] = refusal(node, pod, placed.get(name, ()))
        fitting = [name for name, why in refusals.items() if why is None]
        if fitting:
            self._bind(pod, min(fitting, key=lambda name: len(placed.get(name, ()))))
        else:
            self._report(pod, [why for why in refusals.values() if why is not None])

    def _placed(self) -> dict[str, list[JsonObject]]:
        """The pods of each node that still use it."""
        found: dict[str, list[JsonObject]] = {}
        for pod in self._registry.list("pods"):
            node = pod.get("spec", {}).get("nodeName")
            if node and not is_finished(pod):
                found.setdefault(node, []).append(pod)
        return found

    def _bind(self, pod: JsonObject, node: str) -> None:
        def bind(new: JsonObject) -> None:
            new["spec"]["nodeName"] = node
            conditions = new.setdefault("status", {}).setdefault("conditions", [])
            for entry in conditions:
                if entry["type"] == "PodScheduled":
                    entry.pop("reason", None)
                    entry.pop("message", None)
            set_condition(conditions, {"type": "PodScheduled", "status": "True", "lastProbeTime": None})

        bound = self._registry.mutate("pods", *place(pod), bind)
        namespace, name = place(pod)
        self._events.event(bound, NORMAL, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")

    def _report(self, pod: JsonObject, refusals: list[Refusal]) -> None:
        """Say once why the pod has to wait; a change of a node, or a pod's end, brings it back."""
        text = message(refusals)
        if condition(pod, "PodScheduled").get("message") == text:
            return

        def wait(new: JsonObject) -> None:
            verdict = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": text,
            }
            set_condition(new.setdefault("status", {}).setdefault("conditions", []), verdict)

        waiting = self._registry.mutate("pods", *place(pod), wait, "status")
        self._events.event(waiting, WARNING, "FailedScheduling", text)


def _needs_node(pod: JsonObject) -> bool:
    spec = pod.get("spec", {})
    ours = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    free = not spec.get("nodeName") and not spec.get("schedulingGates")
    return ours and free and not is_terminating(pod) and not is_finished(pod)
