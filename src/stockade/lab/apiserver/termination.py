"""Which way an object ends: at once, after its finalizers, or after the node has stopped its pod.

Rules: the Pod strategy's CheckGracefulDelete, the Namespace REST storage, and registry.Store.Delete of kube-apiserver.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from stockade.lab.apiserver.failures import forbidden
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

IMMORTAL = ("default", "kube-public", "kube-system")
DEFAULT_GRACE = 30
FOREGROUND = "foregroundDeletion"  # the finalizer that the garbage collector takes away


class Termination(Enum):
    NOW = "now"
    LATER = "later"


def plan_deletion(kind: Kind, obj: JsonObject, grace_seconds: int | None, now: datetime) -> Termination:
    """Marks ``obj`` (a copy) as terminating and says whether it goes now. Raises ApiError Forbidden for namespaces
    that a cluster needs."""
    metadata = obj["metadata"]
    if kind.resource == "namespaces":
        _plan_namespace(kind, obj)
    grace = _pod_grace(obj, grace_seconds) if kind.resource == "pods" else 0
    held = bool(metadata.get("finalizers")) or kind.resource == "namespaces"
    if grace == 0 and not held:
        return Termination.NOW
    before = metadata.get("deletionGracePeriodSeconds", grace)
    if "deletionTimestamp" not in metadata or grace < before:  # a second delete can only shorten
        metadata["deletionTimestamp"] = (now + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if kind.resource != "namespaces":
            metadata["deletionGracePeriodSeconds"] = grace
    return Termination.LATER


def is_finished(kind: Kind, obj: JsonObject) -> bool:
    """A terminating object that nothing holds back any more."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if kind.resource == "namespaces":
        return not obj.get("spec", {}).get("finalizers")
    return int(metadata.get("deletionGracePeriodSeconds", 0)) == 0


def _plan_namespace(kind: Kind, namespace: JsonObject) -> None:
    name = namespace["metadata"]["name"]
    if name in IMMORTAL:
        raise forbidden(kind, name, "this namespace may not be deleted")
    namespace["status"] = {**namespace.get("status", {}), "phase": "Terminating"}


def _pod_grace(pod: JsonObject, asked: int | None) -> int:
    """A pod that no node runs, or that has ended, needs no time; 0 is --force; negative counts as 1."""
    spec, phase = pod.get("spec", {}), pod.get("status", {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    grace = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE) if asked is None else asked
    return 1 if grace < 0 else int(grace)
