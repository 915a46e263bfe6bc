"""What stays the same when an object is written: its identity, its status, its owners; what a write must agree with.

In: the object before and after. Out: the latter, edited, or an ApiError Conflict. Called by ``ObjectStore``. Rules: registry/rest's BeforeUpdate and
the preconditions of kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stockade.lab.apiserver.failures import conflict
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

SERVER_OWNED = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)

Managers = Callable[[JsonObject | None, JsonObject], Sequence[JsonObject]]
"""From the object before and after a write: the new ``metadata.managedFields``."""


def disown(obj: JsonObject, uid: str) -> None:
    metadata = obj["metadata"]
    metadata["ownerReferences"] = [o for o in metadata["ownerReferences"] if o.get("uid") != uid]


def own(new: JsonObject, old: JsonObject | None, managers: Managers | None) -> None:
    if managers is not None:
        entries = [*managers(old, new)]
        new["metadata"].pop("managedFields", None)
        if entries:
            new["metadata"]["managedFields"] = entries


def with_status(held: JsonObject, copy: JsonObject) -> JsonObject:
    """``held``, which is not edited, with the status of ``copy``; and with its entries of managedFields, which may be."""
    metadata = {**held["metadata"]}
    if "managedFields" in copy["metadata"]:
        metadata["managedFields"] = copy["metadata"]["managedFields"]
    return {**held, "metadata": metadata, "status": copy.get("status") or {}}


def desired(obj: JsonObject) -> JsonObject:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def check_preconditions(kind: Kind, old: JsonObject, asked: JsonObject) -> None:
    """The name comes from the path; a version or uid in the body must be the stored one."""
    name, held = old["metadata"]["name"], old["metadata"]
    if asked.get("uid") and asked["uid"] != held["uid"]:
        why = f"Precondition failed: UID in precondition: {asked['uid']}, UID in object meta: {held['uid']}"
        raise conflict(kind, name, why)
    if asked.get("resourceVersion") not in (None, "", "0", held["resourceVersion"]):
        raise conflict(kind, name)


def carry_over(kind: Kind, new: JsonObject, old: JsonObject) -> None:
    """What a client cannot change by writing the object itself: identity and, with a status subresource, the status."""
    metadata = new["metadata"] = new.get("metadata") or {}
    for field in (*SERVER_OWNED, "managedFields"):
        metadata.pop(field, None)
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
