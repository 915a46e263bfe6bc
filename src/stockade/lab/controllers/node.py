"""Node lifecycle: what a node's condition and cordon mean for new pods, written as taints.

In: Nodes. Out: the taints not-ready, unreachable and unschedulable (all NoSchedule) on those that earn them, and on no other.
Called by ``run_controllers``. Rules: the node lifecycle controller's taints by condition. Pods that run already are not evicted.
"""

from __future__ import annotations

from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.fit import UNSCHEDULABLE, unready_taint
from stockade.lab.controllers.loop import Place, itself, run_loop
from stockade.lab.controllers.workqueue import WorkQueue

_OURS = {UNSCHEDULABLE, "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


class NodeController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(self._registry, self._queue, {"nodes": itself}, self._reconcile)

    def _reconcile(self, key: Place) -> None:
        node = self._registry.find("nodes", *key)
        if node is None:
            return
        spec = node.get("spec", {})
        wanted = {unready_taint(node), UNSCHEDULABLE if spec.get("unschedulable") else ""} - {""}
        taints = list(spec.get("taints") or [])
        if {taint["key"] for taint in taints if _is_ours(taint)} == wanted:
            return
        kept = [taint for taint in taints if not _is_ours(taint) or taint["key"] in wanted]
        missing = wanted - {taint["key"] for taint in kept if _is_ours(taint)}
        kept += [{"key": name, "effect": "NoSchedule"} for name in sorted(missing)]

        def write(obj: JsonObject) -> None:
            obj.setdefault("spec", {})["taints"] = kept
            if not kept:
                del obj["spec"]["taints"]

        self._registry.mutate("nodes", *key, write)


def _is_ours(taint: JsonObject) -> bool:
    return taint.get("key") in _OURS and taint.get("effect") == "NoSchedule"
