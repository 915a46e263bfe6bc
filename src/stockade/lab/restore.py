"""The objects of a lab that crashed, made true again: its processes are gone, and no node is ready.

In: the store as the database had it, and the nodes that start now. Out: the same objects with honest status. Called by ``lab.cluster``
before anything is served or watched, in one transaction; the kubelet parts, the agents and the controllers then do what is missing.

- What ran has ended, with the words a kubelet has for a container that died with its machine (reason Unknown, exit code 255); so nobody
  takes a pod for Ready before it is. Whether it runs again is its restart policy's business (``node.container``).
- Nodes are not Ready until their agents are. Cordons, labels and taints stay; a node object that was deleted registers again.
- Namespaces that every cluster has, and default/kubernetes, are there again, as the API server makes them. kube-dns is its user's.
- Logs of pods that do not exist any more go.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from stockade.lab import bootstrap
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.objects import set_condition
from stockade.lab.node import status
from stockade.lab.topology import NodePlan

LOST_CODE = 255
LOST_MESSAGE = "The container could not be located when the lab was started again"


def restore(registry: Registry, nodes: Sequence[NodePlan], logs: Path) -> None:
    bootstrap.ensure(registry, nodes)
    for node in nodes:
        registry.mutate("nodes", "", node.name, _not_ready, "status")
    for pod in registry.list("pods"):
        if pod.get("status", {}).get("startTime"):
            meta = pod["metadata"]
            registry.mutate("pods", meta["namespace"], meta["name"], _pod_lost, "status")
    _remove_logs(registry, logs)


def _not_ready(node: JsonObject) -> None:
    conditions = node.setdefault("status", {}).setdefault("conditions", [])
    set_condition(conditions, bootstrap.NOT_READY)
    node["status"].setdefault("nodeInfo", {})["bootID"] = str(uuid.uuid4())


def _pod_lost(pod: JsonObject) -> None:
    """Edits ``pod``. One that had finished stays as it is."""
    held = pod["status"]
    if held.get("phase") in {"Succeeded", "Failed"}:
        return
    apps = [_container_lost(entry) for entry in held.get("containerStatuses") or []]
    inits = [_container_lost(entry) for entry in held.get("initContainerStatuses") or []]
    pod["status"] = status.pod_status(
        pod,
        apps,
        inits,
        pod_ips=[entry["ip"] for entry in held.get("podIPs") or []],
        host_ips=[entry["ip"] for entry in held.get("hostIPs") or []],
        has_network=False,
        start_time=held["startTime"],
    )


def _container_lost(entry: JsonObject) -> JsonObject:
    state = entry.get("state") or {}
    entry = {**entry, "ready": "terminated" in state and entry.get("ready", False), "started": False}
    if "running" not in state:
        return entry
    since, name = state["running"].get("startedAt") or status.now(), entry.get("containerID", "")
    ended = status.terminated(LOST_CODE, since, name, "Unknown", LOST_MESSAGE)
    return {**entry, "state": ended}


def _remove_logs(registry: Registry, directory: Path) -> None:
    uids = {pod["metadata"]["uid"] for pod in registry.list("pods")}
    for entry in directory.iterdir() if directory.exists() else ():
        if entry.name.rpartition("_")[2] not in uids:
            shutil.rmtree(entry, ignore_errors=True)
