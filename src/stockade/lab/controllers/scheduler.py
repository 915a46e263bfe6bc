"""Scheduler: gives each new pod a node.

In: pods without ``spec.nodeName``, nodes. Out: ``spec.nodeName`` and the condition PodScheduled, events Scheduled and
FailedScheduling. Which nodes fit, ``fit`` says; of those the one with the fewest pods is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stockade.lab.apiserver.registry import MANAGER, Change, JsonObject, Registry
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
        self._pods = _Pods()

    async def run(self) -> None:
        MANAGER.set("kube-scheduler")  # in a task of its own
        await run_loop(
            self._registry, self._queue, {"pods": self._of_pod, "nodes": self._waiting_pods}, self._reconcile
        )

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """A new pod; and when one ends, those that may have waited for its place."""
        self._pods.follow(change)
        if change.type == "DELETED" or is_finished(change.object):
            return self._pods.waiting()
        return itself(change) if _needs_node(change.object) else ()

    def _waiting_pods(self, change: Change) -> Iterable[Place]:
        """A node appeared or changed: look again at every pod that has none."""
        return () if change.type == "DELETED" else self._pods.waiting()

    def _reconcile(self, key: Place) -> None:
        pod = self._registry.find("pods", *key)
        if pod is None or not _needs_node(pod):
            return
        nodes = [
            n
            for n in self._registry.list("nodes")
            if not self._node_names or n["metadata"]["name"] in self._node_names
        ]
        refusals: dict[str, Refusal | None] = {}
        for node in nodes:
            name = node["metadata"]["name"]
            refusals[name] = refusal(node, pod, self._pods.on(name))
        fitting = [name for name, why in refusals.items() if why is None]
        if fitting:
            self._bind(pod, min(fitting, key=lambda name: len(self._pods.on(name))))
        else:
            self._report(pod, [why for why in refusals.values() if why is not None])

    def _bind(self, pod: JsonObject, node: str) -> None:
        def bind(new: JsonObject) -> None:
            new["spec"]["nodeName"] = node
            conditions = new.setdefault("status", {}).setdefault("conditions", [])
            for entry in conditions:
                if entry["type"] == "PodScheduled":
                    entry.pop("reason", None)
                    entry.pop("message", None)
            set_condition(conditions, {"type": "PodScheduled", "status": "True", "lastProbeTime": None})

        bound = self._registry.mutate("pods", *place(pod), bind, "binding")
        self._pods.follow(Change("MODIFIED", bound))  # before its watch tells: the next pod is placed now
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


class _Pods:
    """Every pod once, by where it is: to place one of a thousand costs no look at the others."""

    def __init__(self) -> None:
        self._node_of: dict[Place, str] = {}
        self._on: dict[str, dict[Place, JsonObject]] = {}

    def on(self, node: str) -> Collection[JsonObject]:
        """Those that still use it."""
        return self._on.get(node, {}).values()

    def waiting(self) -> list[Place]:
        """Those that need a node."""
        return sorted(self._on.get("", ()))

    def follow(self, change: Change) -> None:
        pod, key = change.object, place(change.object)
        node = pod.get("spec", {}).get("nodeName") or ""
        before = self._node_of.pop(key, None)
        if before is not None:
            del self._on[before][key]
        if change.type != "DELETED" and not is_finished(pod) and (node or _needs_node(pod)):
            self._node_of[key] = node
            self._on.setdefault(node, {})[key] = pod


def _needs_node(pod: JsonObject) -> bool:
    spec = pod.get("spec", {})
    ours = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    free = not spec.get("nodeName") and not spec.get("schedulingGates")
    return ours and free and not is_terminating(pod) and not is_finished(pod)
