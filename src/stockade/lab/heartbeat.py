"""A node's signs of life, as a kubelet writes them: the Lease in kube-node-lease, and the condition Ready.

In: the registry, the node's name. Out: a Lease renewed every ten seconds, and the Node's conditions. Called by ``lab.nodes``. Rules: KEP-589
(node heartbeats): lease of 40 s, named after the node and owned by it.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry
from stockade.lab.controllers.objects import set_condition
from stockade.lab.events import timestamp

LEASES, NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
_PERIOD, _DURATION = 10.0, 40


async def run(registry: Registry, node: str) -> None:
    """Until cancelled."""
    while True:
        with contextlib.suppress(ApiError):  # the node was deleted by somebody, or its namespace
            renew(registry, node)
        await asyncio.sleep(_PERIOD)


def renew(registry: Registry, node: str) -> None:
    """Create the Lease, or renew it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": node, "leaseDurationSeconds": _DURATION, "renewTime": now}

    def change(lease: JsonObject) -> None:
        lease["spec"] = spec

    if registry.find(LEASES, NAMESPACE, node) is not None:
        registry.mutate(LEASES, NAMESPACE, node, change)
        return
    owner = registry.get("nodes", "", node)["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner}
    metadata = {"name": node, "ownerReferences": [reference]}
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    registry.create(LEASES, NAMESPACE, made)


def mark_ready(registry: Registry, node: str) -> None:
    _set_ready(registry, node, "True", "KubeletReady", "node and policy agent are ready")


def mark_lost(registry: Registry, node: str) -> None:
    """As the node lifecycle controller writes it when the heartbeats stop."""
    _set_ready(registry, node, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


def _set_ready(registry: Registry, node: str, status: str, reason: str, message: str) -> None:
    def change(obj: dict[str, Any]) -> None:
        ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
        if status == "True":
            ready["lastHeartbeatTime"] = timestamp()
        set_condition(obj["status"].setdefault("conditions", []), ready)

    registry.mutate("nodes", "", node, change, "status")
