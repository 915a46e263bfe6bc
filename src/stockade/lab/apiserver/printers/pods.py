"""Pods (printPod): the status word and the restarts come from containers, conditions and deletion together."""

from __future__ import annotations

from collections.abc import Iterator

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import NONE, Printer, columns
from stockade.lab.apiserver.registry import JsonObject


def _row(pod: JsonObject) -> list[object]:
    spec, status, metadata = pod.get("spec", {}), pod.get("status", {}), pod["metadata"]
    ready = sum(
        1 for item in status.get("containerStatuses") or [] if item.get("ready") and "running" in _state(item)
    )
    total = len(spec.get("containers") or [])
    for container, item in _sidecars(spec, status):
        total += 1
        ready += bool(item.get("ready") and container)
    addresses = [item.get("ip", "") for item in status.get("podIPs") or []]
    return [
        metadata["name"],
        f"{ready}/{total}",
        _status(pod),
        _restarts(spec, status),
        age_of(metadata.get("creationTimestamp")),
        next(iter(addresses), "") or status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


def _state(item: JsonObject) -> JsonObject:
    state: JsonObject = item.get("state") or {}
    return state


def _sidecars(spec: JsonObject, status: JsonObject) -> Iterator[tuple[JsonObject, JsonObject]]:
    statuses = {item.get("name"): item for item in status.get("initContainerStatuses") or []}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            yield container, statuses.get(container.get("name"), {})


def _status(pod: JsonObject) -> str:
    status = pod.get("status", {})
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    reason = _init_status(pod) or _container_status(status, reason)
    if pod["metadata"].get("deletionTimestamp"):
        lost = status.get("reason") == "NodeLost"
        finished = status.get("phase") in ("Succeeded", "Failed")
        return "Unknown" if lost else reason if finished else "Terminating"
    return str(reason)


def _init_status(pod: JsonObject) -> str:
    """The first init container that has not done its work, or ""."""
    spec, items = pod.get("spec", {}), pod.get("status", {}).get("initContainerStatuses") or []
    sidecars = {container.get("name") for container, _ in _sidecars(spec, {})}
    for index, item in enumerate(items):
        state = _state(item)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated and terminated.get("exitCode") == 0:
            continue
        if item.get("name") in sidecars and item.get("started"):
            continue
        if terminated:
            return "Init:" + _ended(terminated)
        if waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(spec.get('initContainers') or [])}"
    return ""


def _container_status(status: JsonObject, reason: str) -> str:
    """The first container's trouble wins; a completed container beside running ones is no trouble."""
    running = False
    for item in reversed(status.get("containerStatuses") or []):
        state = _state(item)
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
        elif item.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        conditions = status.get("conditions") or []
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        return "Running" if ready else "NotReady"
    return reason


def _ended(terminated: JsonObject) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(spec: JsonObject, status: JsonObject) -> str:
    items = [*(status.get("containerStatuses") or []), *(item for _, item in _sidecars(spec, status))]
    count = sum(item.get("restartCount", 0) for item in items)
    ends = [((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for item in items]
    last = max(filter(None, ends), default="")
    return f"{count} ({age_of(last)} ago)" if count and last else str(count)


def _gates(spec: JsonObject, status: JsonObject) -> str:
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or []]
    met = sum(
        1 for c in status.get("conditions") or [] if c.get("type") in gates and c.get("status") == "True"
    )
    return f"{met}/{len(gates)}" if gates else NONE


POD = Printer(columns("Name,Ready,Status,Restarts,Age", "IP,Node,Nominated Node,Readiness Gates"), _row)
