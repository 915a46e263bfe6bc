"""Deployments and ReplicaSets (printDeployment, printReplicaSet)."""

from __future__ import annotations

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import Printer, columns, containers_text, selector_text
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


DEPLOYMENT = Printer(columns("Name,Ready,Up-to-date,Available,Age", WIDE), _deployment)
REPLICA_SET = Printer(
    columns("Name,Desired,Current,Ready,Age", WIDE, numbers=("Desired", "Current", "Ready")), _replica_set
)
