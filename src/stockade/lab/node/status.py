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
    spec: JsonObject,
) -> list[JsonObject]:
    """The five conditions of a pod; times of transition are kept where the status did not change."""
    sidecars = sidecar_names(spec)
    unready = " ".join(
        entry["name"]
        for entry in [*(entry for entry in inits if entry["name"] in sidecars), *apps]
        if not entry["ready"]
    )
    uninitialized = " ".join(
        entry["name"] for entry in inits if not entry["started" if entry["name"] in sidecars else "ready"]
    )
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(current_phase, "")
    not_ready = (
        (ended, "") if ended else ("ContainersNotReady", f"containers with unready status: [{unready}]")
    )
    not_initialized = ("ContainersNotInitialized", f"containers with incomplete status: [{uninitialized}]")
    are_ready = not unready and not ended and current_phase == "Running"
    closed = "" if not are_ready else _closed_gate(old, spec)
    why_not_ready = ("ReadinessGatesNotReady", closed) if closed else not_ready
    initialized = not uninitialized or current_phase == "Succeeded"
    wanted = [
        ("PodReadyToStartContainers", has_network, ("", "")),
        ("Initialized", initialized, not_initialized),
        ("Ready", are_ready and not closed, why_not_ready),
        ("ContainersReady", are_ready, not_ready),
        ("PodScheduled", True, ("", "")),
    ]
    known = {entry["type"]: entry for entry in old}
    result = [_condition(kind, holds, why, known.get(kind)) for kind, holds, why in wanted]
    others = [entry for entry in old if entry["type"] not in {kind for kind, _, _ in wanted}]
    return result + others


def sidecar_names(spec: JsonObject) -> set[str]:
    """Init containers that go on beside the others (KEP-753)."""
    inits = spec.get("initContainers") or []
    return {container["name"] for container in inits if container.get("restartPolicy") == "Always"}


def _closed_gate(conditions: Sequence[JsonObject], spec: JsonObject) -> str:
    """What keeps a pod from being Ready although its containers are; "" for nothing."""
    states = {entry["type"]: entry.get("status") for entry in conditions}
    found = []
    for gate in spec.get("readinessGates") or []:
        name = gate.get("conditionType")
        if states.get(name) is None:
            found.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif states[name] != "True":
            found.append(f'the status of pod readiness gate "{name}" is not "True", but {states[name]}')
    return " ".join(found)


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


def pod_status(  # noqa: PLR0913 - a status has these parts
    pod: JsonObject,
    apps: Sequence[JsonObject],
    inits: Sequence[JsonObject],
    *,
    pod_ips: Sequence[str],
    host_ips: Sequence[str],
    has_network: bool,
    start_time: str,
    ephemeral: Sequence[JsonObject] = (),
    failed: tuple[str, str] | None = None,
) -> JsonObject:
    """``failed``: reason and message of a pod that has failed whatever its containers say."""
    old, spec = pod.get("status", {}), pod.get("spec", {})
    sidecars = sidecar_names(spec)
    once = [entry for entry in inits if entry["name"] not in sidecars]
    current_phase = "Failed" if failed else phase(apps, once, spec.get("restartPolicy") or "Always")
    status = {
        **old,
        "phase": current_phase,
        "conditions": conditions(
            old.get("conditions") or [], current_phase, apps, inits, has_network=has_network, spec=spec
        ),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "startTime": start_time,
        "containerStatuses": list(apps),
        "qosClass": old.get("qosClass") or "BestEffort",
    }
    if inits:
        status["initContainerStatuses"] = list(inits)
    if ephemeral:
        status["ephemeralContainerStatuses"] = list(ephemeral)
    if failed:
        status |= {"reason": failed[0], "message": failed[1]}
    if pod_ips:
        status |= {"podIP": pod_ips[0], "podIPs": [{"ip": ip} for ip in pod_ips]}
    return status
