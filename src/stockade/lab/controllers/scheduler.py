"""Scheduler: gives each new pod a node.

In: pods without ``spec.nodeName``, nodes. Out: ``spec.nodeName`` and the condition PodScheduled, events Scheduled and
FailedScheduling. A node fits when it is Ready, not cordoned, carries the labels of ``nodeSelector`` and has no taint that the
pod does not tolerate; of those that fit, the one with the fewest pods.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import condition, is_finished, is_terminating, set_condition
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import NORMAL, WARNING, EventRecorder

_BLOCKING = {"NoSchedule", "NoExecute"}


class Scheduler:
    """``node_names`` limits the nodes considered; empty means all."""

    def __init__(self, registry: Registry, node_names: Collection[str] = ()) -> None:
        self._registry = registry
        self._node_names = frozenset(node_names)
        self._events = EventRecorder(registry, "default-scheduler")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(
            self._registry, self._queue, {"pods": _new_pod, "nodes": self._waiting_pods}, self._reconcile
        )

    def _waiting_pods(self, change: Change) -> Iterable[Place]:
        """A node appeared or changed: look again at every pod that has none."""
        if change.type == "DELETED":
            return ()
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
        refusals = {node["metadata"]["name"]: _refusal(node, pod) for node in nodes}
        fitting = [name for name, why in refusals.items() if not why]
        if fitting:
            self._bind(pod, self._emptiest(fitting))
        else:
            self._report(pod, list(refusals.values()))

    def _emptiest(self, names: list[str]) -> str:
        if len(names) == 1:
            return names[0]
        placed = [
            pod.get("spec", {}).get("nodeName") for pod in self._registry.list("pods") if not is_finished(pod)
        ]
        return min(names, key=placed.count)

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

    def _report(self, pod: JsonObject, refusals: list[str]) -> None:
        """Say once why the pod has to wait; a change of a node brings it back."""
        message = "no nodes available to schedule pods"
        if refusals:
            reasons = sorted({f"{refusals.count(why)} {why}" for why in refusals})
            message = f"0/{len(refusals)} nodes are available: {', '.join(reasons)}."
        if condition(pod, "PodScheduled").get("message") == message:
            return

        def wait(new: JsonObject) -> None:
            verdict = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
            set_condition(new.setdefault("status", {}).setdefault("conditions", []), verdict)

        waiting = self._registry.mutate("pods", *place(pod), wait, "status")
        self._events.event(waiting, WARNING, "FailedScheduling", message)


def _new_pod(change: Change) -> Iterable[Place]:
    return itself(change) if change.type != "DELETED" and _needs_node(change.object) else ()


def _needs_node(pod: JsonObject) -> bool:
    spec = pod.get("spec", {})
    ours = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    free = not spec.get("nodeName") and not spec.get("schedulingGates")
    return ours and free and not is_terminating(pod) and not is_finished(pod)


def _refusal(node: JsonObject, pod: JsonObject) -> str:
    """Why the pod cannot run there, in the scheduler's words; "" when it can."""
    spec = node.get("spec", {})
    if spec.get("unschedulable"):
        return "node(s) were unschedulable"
    if condition(node, "Ready").get("status") != "True":
        return "node(s) were not ready"
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in spec.get("taints") or []:
        if taint.get("effect") in _BLOCKING and not _tolerated(taint, pod):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def _tolerated(taint: JsonObject, pod: JsonObject) -> bool:
    for toleration in pod["spec"].get("tolerations") or []:
        effect, key = toleration.get("effect"), toleration.get("key")
        if effect not in {None, "", taint["effect"]} or key not in {None, "", taint["key"]}:
            continue
        exists = toleration.get("operator", "Equal") == "Exists"
        if exists or toleration.get("value", "") == taint.get("value", ""):
            return True
    return False
