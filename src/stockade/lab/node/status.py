"""Pod status as the kubelet writes it, from what the node knows. Pure.

Rules: Kubernetes API, PodStatus, ContainerStatus and PodCondition v1 core; reasons and messages are those of the kubelet, because
clients (``kubectl get``, ``wait``, ``run``) and people read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

JsonObject = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(reason: str, message: str = "") -> JsonObject:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(started_at: str) -> JsonObject:
    return {"running": {"startedAt": started_at}}


def terminated(
    code: int, started_at: str, container_id: str, reason: str = "", message: str = ""
) -> JsonObject:
    state: JsonObject = {
        "exitCode": code,
        "reason": reason or ("Completed" if code == 0 else "Error"),
        "startedAt": started_at,
        "finishedAt": now(),
        "containerID": container_id,
    }
    return {"terminated": state | ({"message": message} if message else {})}


def phase(apps: Sequence[JsonObject], inits: Sequence[JsonObject], restart_policy: str) -> str:
    """From container statuses. A container that may be started again is not finished."""

    def is_final(entry: JsonObject) -> bool:
        ended = entry["state"].get("terminated")
        return bool(ended) and (
            restart_policy == "Never" or (restart_policy == "OnFailure" and ended["exitCode"] == 0)
        )

    def failed(entry: JsonObject) -> bool:
        return is_final(entry) and entry["state"]["terminated"]["exitCode"] != 0

    if any(failed(entry) for entry in inits):
        return "Failed"
    if apps and all(is_final(entry) for entry in apps):
        return "Failed" if any(failed(entry) for entry in apps) else "Succeeded"
    if any(
        "running" in entry["state"] or "terminated" in entry["state"] or entry["lastState"] for entry in apps
    ):
        return "Running"
    return "Pending"


def conditions(
    old: Sequence[JsonObject],
    current_phase: str,
    apps: Sequence[JsonObject],
    inits: Sequence[JsonObject],
    *,
    has_network: bool,
) -> list[JsonObject]:
    """The five conditions of a pod; times of transition are kept where the status did not change."""
    unready = " ".join(entry["name"] for entry in apps if not entry["ready"])
    uninitialized = " ".join(entry["name"] for entry in inits if not entry["ready"])
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(current_phase, "")
    not_ready = (
        (ended, "") if ended else ("ContainersNotReady", f"containers with unready status: [{unready}]")
    )
    not_initialized = ("ContainersNotInitialized", f"containers with incomplete status: [{uninitialized}]")
    is_ready = not unready and not ended and current_phase == "Running"
    initialized = not uninitialized or current_phase == "Succeeded"
    wanted = [
        ("PodReadyToStartContainers", has_network, ("", "")),
        ("Initialized", initialized, not_initialized),
        ("Ready", is_ready, not_ready),
        ("ContainersReady", is_ready, not_ready),
        ("PodScheduled", True, ("", "")),
    ]
    known = {entry["type"]: entry for entry in old}
    result = [_condition(kind, holds, why, known.get(kind)) for kind, holds, why in wanted]
    others = [entry for entry in old if entry["type"] not in {kind for kind, _, _ in wanted}]
    return result + others


def _condition(kind: str, holds: bool, why: tuple[str, str], old: JsonObject | None) -> JsonObject:
    status = "True" if holds else "False"
    since = (
        old["lastTransitionTime"]
        if old and old["status"] == status and "lastTransitionTime" in old
        else now()
    )
    reason, message = ("", "") if holds else why
    entry = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    return entry | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def pod_status(
    pod: JsonObject,
    apps: Sequence[JsonObject],
    inits: Sequence[JsonObject],
    *,
    pod_ips: Sequence[str],
    host_ips: Sequence[str],
    has_network: bool,
    start_time: str,
) -> JsonObject:
    old = pod.get("status", {})
    current_phase = phase(apps, inits, pod.get("spec", {}).get("restartPolicy") or "Always")
    status = {
        **old,
        "phase": current_phase,
        "conditions": conditions(
            old.get("conditions") or [], current_phase, apps, inits, has_network=has_network
        ),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "startTime": start_time,
        "containerStatuses": list(apps),
        "qosClass": old.get("qosClass") or "BestEffort",
    }
    if inits:
        status["initContainerStatuses"] = list(inits)
    if pod_ips:
        status |= {"podIP": pod_ips[0], "podIPs": [{"ip": ip} for ip in pod_ips]}
    return status
