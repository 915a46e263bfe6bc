"""Questions that several controllers ask of plain objects: owners, selectors, pod readiness, conditions.

In: objects as JSON. Out: answers, or an object edited in place where the name says so. Rules: API conventions
(typical status properties), and the pod utilities of the kubelet and the controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from stockade.lab.apiserver.registry import ApiError, JsonObject
from stockade.lab.events import timestamp
from stockade.model.selectors import LabelSelector


def is_terminating(obj: JsonObject) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_finished(pod: JsonObject) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def condition(obj: JsonObject, type_: str) -> JsonObject:
    """The object's own: read only."""
    for entry in obj.get("status", {}).get("conditions") or ():
        if entry.get("type") == type_:
            found: JsonObject = entry
            return found
    return {}


def is_ready(pod: JsonObject) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def ready_for(pod: JsonObject) -> float:
    """Seconds since the pod became Ready; negative when it is not."""
    ready = condition(pod, "Ready")
    if ready.get("status") != "True":
        return -1.0
    try:
        since = datetime.fromisoformat(ready.get("lastTransitionTime") or "")
    except ValueError:
        return 0.0
    return max(0.0, (datetime.now(UTC) - since).total_seconds())


def set_condition(conditions: list[JsonObject], new: JsonObject) -> None:
    """Replace the condition of the same type; the time of transition changes with the status only."""
    for index, old in enumerate(conditions):
        if old["type"] == new["type"]:
            same = old.get("status") == new["status"]
            since = old.get("lastTransitionTime") if same else None
            conditions[index] = {**old, **new, "lastTransitionTime": since or timestamp()}
            return
    conditions.append({**new, "lastTransitionTime": timestamp()})


def controller_of(obj: JsonObject) -> JsonObject | None:
    """The owner reference with ``controller: true``."""
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return dict(owner)
    return None


def is_controlled_by(obj: JsonObject, owner: JsonObject) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


def owner_reference(owner: JsonObject) -> JsonObject:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adopt(obj: JsonObject, owner: JsonObject) -> None:
    """Edits ``obj``."""
    obj["metadata"].setdefault("ownerReferences", []).append(owner_reference(owner))


def selects(selector: Mapping[str, Any] | None, obj: JsonObject) -> bool:
    """A LabelSelector of a workload; absent or empty selects nothing here."""
    return selecting(selector)(obj)


def selecting(selector: Mapping[str, Any] | None) -> Callable[[JsonObject], bool]:
    """``selects`` for many objects."""
    if not selector:
        return lambda obj: False  # noqa: ARG005 - nothing, whatever it is
    parsed = msgspec.convert(selector, LabelSelector)
    return lambda obj: parsed.matches(obj["metadata"].get("labels") or {})


def is_namespace_ending(error: ApiError) -> bool:
    """A refused create that needs no second try."""
    return error.reason == "Forbidden" and "being terminated" in str(error)
