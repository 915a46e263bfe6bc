"""Node lifecycle: a node without signs of life is lost, and what a node's condition and cordon mean for new pods is written as taints.

In: Nodes, their Leases, their pods. Out: the condition Ready=Unknown of a node whose Lease ran out, its pods not Ready; the taints
not-ready, unreachable and unschedulable (all NoSchedule) on nodes that earn them, and on no other; pods being deleted that no kubelet will end
are gone. Called by ``run_controllers``.
Rules: the node lifecycle controller's, without its evictions: pods that run already stay; the pod garbage collector's for orphans.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry
from stockade.lab.controllers.fit import UNSCHEDULABLE, unready_taint
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import is_ready, is_terminating, set_condition
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.events import timestamp

LEASES, LEASE_NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
_LOOK = 5.0  # seconds between looks at the Leases
_OURS = {UNSCHEDULABLE, "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


class NodeController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_loop(self._registry, self._queue, {"nodes": itself}, self._reconcile))
            group.create_task(self._watch_leases())

    async def _watch_leases(self) -> None:
        """The clock wakes this one: what does not happen sends no event."""
        while True:
            await asyncio.sleep(_LOOK)
            lose_silent(self._registry)
            delete_orphans(self._registry)

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


def lose_silent(registry: Registry) -> None:
    """Every Ready node whose Lease ran out; nodes without a Lease are nobody's business here."""
    for node in registry.list("nodes"):
        name = node["metadata"]["name"]
        lease = registry.find(LEASES, LEASE_NAMESPACE, name)
        if lease is not None and _ran_out(lease) and is_ready(node):
            _lose(registry, name)


def delete_orphans(registry: Registry) -> None:
    """Pods being deleted whose grace is over and whose node does not exist: they would hold up their namespace for ever."""
    nodes = {node["metadata"]["name"] for node in registry.list("nodes")}
    now = timestamp()
    for pod in registry.list("pods"):
        bound = pod["spec"].get("nodeName")
        if (
            bound
            and bound not in nodes
            and is_terminating(pod)
            and pod["metadata"]["deletionTimestamp"] < now
        ):
            with contextlib.suppress(ApiError):  # somebody else was faster
                registry.remove("pods", *place(pod), pod["metadata"]["uid"])


def _ran_out(lease: JsonObject) -> bool:
    spec = lease.get("spec") or {}
    try:
        renewed = datetime.fromisoformat(spec.get("renewTime") or "")
        return (datetime.now(UTC) - renewed).total_seconds() > int(spec.get("leaseDurationSeconds") or 40)
    except (TypeError, ValueError):  # whatever its user wrote there, it is no time
        return False


def _lose(registry: Registry, node: str) -> None:
    """Ready becomes Unknown, and the node's pods are no endpoints any more."""
    lost = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    unready = {"type": "Ready", "status": "False", "reason": "NodeNotReady"}
    registry.mutate("nodes", "", node, lambda obj: _set(obj, lost), "status")
    for pod in registry.list("pods"):
        if pod["spec"].get("nodeName") == node and is_ready(pod):
            registry.mutate("pods", *place(pod), lambda obj: _set(obj, unready), "status")


def _set(obj: JsonObject, wanted: JsonObject) -> None:
    set_condition(obj.setdefault("status", {}).setdefault("conditions", []), wanted)
