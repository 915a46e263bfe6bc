"""A node's signs of life, as a kubelet writes them: the Lease in kube-node-lease, and the condition Ready.

In: the registry, the node's name. Out: a Lease renewed every ten seconds while the node is online, and the Node's conditions. Called by
``lab.nodes``; who notices that a Lease is not renewed: ``controllers.node``. Rules: KEP-589 (node heartbeats): lease of 40 s, named after
the node and owned by it.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

from stockade.lab.apiserver.registry import MANAGER, ApiError, JsonObject, Registry
from stockade.lab.controllers.objects import set_condition
from stockade.lab.events import timestamp

LEASES, NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
_PERIOD, _DURATION = 10.0, 40


async def run(registry: Registry, node: str, online: asyncio.Event) -> None:
    """Until cancelled."""
    MANAGER.set("kubelet")
    while True:
        await online.wait()
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
    def change(obj: dict[str, Any]) -> None:
        message = "node and policy agent are ready"
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": message}
        ready["lastHeartbeatTime"] = timestamp()
        set_condition(obj["status"].setdefault("conditions", []), ready)

    before = MANAGER.set("kubelet")  # whose task it is
    try:
        registry.mutate("nodes", "", node, change, "status")
    finally:
        MANAGER.reset(before)
