"""A Deployment's status: counts and the conditions Available and Progressing.

In: the Deployment (edited in place) and its ReplicaSets. Called by ``deployment``. ``kubectl rollout status`` and
``kubectl wait`` read these fields; counts of zero are left out, as the API writes them.
"""

from __future__ import annotations

from datetime import UTC, datetime

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.objects import condition, set_condition
from stockade.lab.controllers.rollout import bounds, size
from stockade.lab.events import timestamp

_DEFAULT_DEADLINE = 600


def update_status(deployment: JsonObject, new: JsonObject | None, owned: list[JsonObject]) -> None:
    """Everything of ``status``, from what the ReplicaSets report."""
    before = dict(deployment.get("status") or {})
    status = deployment["status"] = {
        key: before[key] for key in ("conditions", "collisionCount") if key in before
    }
    status["observedGeneration"] = deployment["metadata"].get("generation", 1)
    available = _sum(owned, "availableReplicas")
    counts = {
        "replicas": _sum(owned, "replicas"),
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(owned, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(size, owned)) - available),
    }
    status.update({key: count for key, count in counts.items() if count})
    conditions = [dict(entry) for entry in status.get("conditions") or []]
    limits = bounds(deployment["spec"])
    enough = available >= limits.desired - limits.unavailable
    has = "has" if enough else "does not have"
    verdict = {
        "type": "Available",
        "status": str(enough),
        "reason": f"MinimumReplicas{'Available' if enough else 'Unavailable'}",
        "message": f"Deployment {has} minimum availability.",
    }
    _set(conditions, verdict)
    _set(conditions, _progress(deployment, new, before))
    status["conditions"] = conditions


def is_complete(deployment: JsonObject) -> bool:
    desired, status = bounds(deployment["spec"]).desired, deployment.get("status", {})
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [desired] * 3


def deadline(deployment: JsonObject) -> float | None:
    """Seconds until progress counts as too slow; None when there is nothing to wait for."""
    progressing = condition(deployment, "Progressing")
    if deployment["spec"].get("paused") or is_complete(deployment) or progressing.get("status") != "True":
        return None
    return max(0.0, _allowed(deployment) - _age(progressing)) + 0.1


def _progress(deployment: JsonObject, new: JsonObject | None, before: JsonObject) -> JsonObject:
    last = condition(deployment, "Progressing")
    name = deployment["metadata"]["name"]
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{name}"'
    if deployment["spec"].get("paused"):
        return {
            "type": "Progressing",
            "status": "Unknown",
            "reason": "DeploymentPaused",
            "message": "Deployment is paused",
        }
    if is_complete(deployment):
        reason, text = "NewReplicaSetAvailable", f"{subject} has successfully progressed."
        return {"type": "Progressing", "status": "True", "reason": reason, "message": text}
    arrived = last.get("reason") == "NewReplicaSetAvailable"
    if arrived and before.get("observedGeneration") == deployment["status"]["observedGeneration"]:
        return last  # pods that fail later are no rollout
    moved = any(before.get(key) != deployment["status"].get(key) for key in _PROGRESS)
    if last and not moved and last.get("status") == "True" and _age(last) < _allowed(deployment):
        return last
    if last and not moved and last.get("reason") != "DeploymentPaused":
        reason, text = "ProgressDeadlineExceeded", f"{subject} has timed out progressing."
        return {"type": "Progressing", "status": "False", "reason": reason, "message": text}
    text = f"{subject} is progressing."
    reason, stamp = "ReplicaSetUpdated", timestamp()
    return {
        "type": "Progressing",
        "status": "True",
        "reason": reason,
        "message": text,
        "lastUpdateTime": stamp,
    }


_PROGRESS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def _allowed(deployment: JsonObject) -> float:
    return float(deployment["spec"].get("progressDeadlineSeconds", _DEFAULT_DEADLINE))


def _age(entry: JsonObject) -> float:
    try:
        since = datetime.fromisoformat(entry.get("lastUpdateTime") or "")
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - since).total_seconds()


def _set(conditions: list[JsonObject], verdict: JsonObject) -> None:
    """``lastUpdateTime`` moves when the reason does."""
    old = next((entry for entry in conditions if entry["type"] == verdict["type"]), {})
    same = (old.get("status"), old.get("reason")) == (verdict["status"], verdict["reason"])
    stamp = verdict.get("lastUpdateTime") or (old.get("lastUpdateTime") if same else None) or timestamp()
    set_condition(conditions, {**verdict, "lastUpdateTime": stamp})


def _sum(replicasets: list[JsonObject], field: str) -> int:
    return sum(int(rs.get("status", {}).get(field) or 0) for rs in replicasets)
