"""The kinds that make pods (printDeployment, printReplicaSet, printStatefulSet, printDaemonSet, printJob …)."""

from __future__ import annotations

from stockade.lab.apiserver.ages import age_of, duration_between
from stockade.lab.apiserver.printers.columns import (
    NONE,
    Printer,
    columns,
    containers_text,
    labels_text,
    selector_text,
)
from stockade.lab.apiserver.registry import JsonObject

WIDE = "Containers,Images,Selector"


def _wide(obj: JsonObject) -> list[object]:
    spec = obj.get("spec", {})
    return [
        *containers_text((spec.get("template") or {}).get("spec") or {}),
        selector_text(spec.get("selector")),
    ]


def _deployment(obj: JsonObject) -> list[object]:
    spec, status, metadata = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
    return [
        metadata["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(metadata.get("creationTimestamp")),
        *_wide(obj),
    ]


def _replica_set(obj: JsonObject) -> list[object]:
    spec, status, metadata = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
    return [
        metadata["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(metadata.get("creationTimestamp")),
        *_wide(obj),
    ]


def _replication_controller(obj: JsonObject) -> list[object]:
    spec = obj.get("spec", {})
    return [*_replica_set(obj)[:-1], labels_text(spec.get("selector"))]


def _stateful_set(obj: JsonObject) -> list[object]:
    spec, status, metadata = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [metadata["name"], ready, age_of(metadata.get("creationTimestamp")), *_wide(obj)[:2]]


def _daemon_set(obj: JsonObject) -> list[object]:
    spec, status, metadata = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        metadata["name"],
        *(status.get(count, 0) for count in counts),
        labels_text(((spec.get("template") or {}).get("spec") or {}).get("nodeSelector")),
        age_of(metadata.get("creationTimestamp")),
        *_wide(obj),
    ]


def _job(obj: JsonObject) -> list[object]:
    status, metadata = obj.get("status", {}), obj["metadata"]
    start, end = status.get("startTime"), status.get("completionTime")
    return [
        metadata["name"],
        _job_status(obj),
        _completions(obj.get("spec", {}), status),
        duration_between(start, end) if start else "",
        age_of(metadata.get("creationTimestamp")),
        *_wide(obj),
    ]


def _job_status(obj: JsonObject) -> str:
    conditions = obj.get("status", {}).get("conditions") or []
    true = {c.get("type") for c in conditions if c.get("status") == "True"}
    for name, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if name in true:
            return shown
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if name in true:
            return name
    return "Running"


def _completions(spec: JsonObject, status: JsonObject) -> str:
    done, parallelism = status.get("succeeded", 0), spec.get("parallelism") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _controller_revision(obj: JsonObject) -> list[object]:
    metadata = obj["metadata"]
    owner = next((o for o in metadata.get("ownerReferences") or [] if o.get("controller")), None)
    controller = NONE
    if owner is not None:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        kind = str(owner.get("kind", "")).lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return [metadata["name"], controller, obj.get("revision", 0), age_of(metadata.get("creationTimestamp"))]


def _pod_disruption_budget(obj: JsonObject) -> list[object]:
    spec, status, metadata = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
    bounds = (spec.get(bound) for bound in ("minAvailable", "maxUnavailable"))
    return [
        metadata["name"],
        *("N/A" if bound is None else str(bound) for bound in bounds),
        status.get("disruptionsAllowed", 0),
        age_of(metadata.get("creationTimestamp")),
    ]


DEPLOYMENT = Printer(columns("Name,Ready,Up-to-date,Available,Age", WIDE), _deployment)
REPLICA_SET = Printer(
    columns("Name,Desired,Current,Ready,Age", WIDE, numbers=("Desired", "Current", "Ready")), _replica_set
)
REPLICATION_CONTROLLER = Printer(
    columns("Name,Desired,Current,Ready,Age", WIDE, numbers=("Desired", "Current", "Ready")),
    _replication_controller,
)
STATEFUL_SET = Printer(columns("Name,Ready,Age", "Containers,Images"), _stateful_set)
DAEMON_NUMBERS = ("Desired", "Current", "Ready", "Up-to-date", "Available")
DAEMON_SET = Printer(
    columns(
        "Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age", WIDE, numbers=DAEMON_NUMBERS
    ),
    _daemon_set,
)
JOB = Printer(columns("Name,Status,Completions,Duration,Age", WIDE), _job)
POD_DISRUPTION_BUDGET = Printer(
    columns("Name,Min Available,Max Unavailable,Allowed Disruptions,Age", numbers=("Allowed Disruptions",)),
    _pod_disruption_budget,
)
CONTROLLER_REVISION = Printer(columns("Name,Controller,Revision,Age"), _controller_revision)
