"""ControllerRevisions: the pod templates that a StatefulSet or DaemonSet has had, for ``kubectl rollout history`` and ``undo``.

In: the owner. Out: a revision per template, the newest with the highest number; old ones beyond ``revisionHistoryLimit`` deleted.
Called by the two controllers. Rules: apps/v1 ControllerRevision; ``data`` is a strategic merge patch of the owner.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.loop import place
from stockade.lab.controllers.objects import is_controlled_by, owner_reference
from stockade.lab.controllers.rollout import template_hash

CONTROLLER_REVISIONS = "controllerrevisions.apps"
HASH_LABEL = "controller-revision-hash"


def revisions_of(registry: Registry, owner: JsonObject) -> list[JsonObject]:
    """Oldest first."""
    held = registry.list(CONTROLLER_REVISIONS, owner["metadata"]["namespace"])
    return sorted((r for r in held if is_controlled_by(r, owner)), key=lambda r: int(r.get("revision", 0)))


def current_hash(registry: Registry, owner: JsonObject) -> str:
    """The hash of the owner's template now; its revision exists afterwards, and is the newest."""
    wanted = template_hash(owner)
    held = revisions_of(registry, owner)
    latest = int(held[-1]["revision"]) if held else 0
    same = next((r for r in held if (r["metadata"].get("labels") or {}).get(HASH_LABEL) == wanted), None)
    if same is None:
        _create(registry, owner, wanted, latest + 1)
    elif int(same["revision"]) < latest:  # rolled back: the old template is the newest revision again
        registry.mutate(CONTROLLER_REVISIONS, *place(same), lambda r: r.update(revision=latest + 1))
    return wanted


def _create(registry: Registry, owner: JsonObject, wanted: str, number: int) -> None:
    namespace, name = place(owner)
    template = copy.deepcopy(owner["spec"]["template"])
    annotations = dict(owner["metadata"].get("annotations") or {})
    annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    revision: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(name, wanted),
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: wanted},
            "annotations": annotations,
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }
    registry.create(CONTROLLER_REVISIONS, namespace, revision)


def revision_name(owner: str, hash_: str) -> str:
    return f"{owner}-{hash_}"


def prune(registry: Registry, owner: JsonObject, used: Collection[str]) -> None:
    """Keep the revisions that pods still have (``used``), and so many more as the owner's limit says."""
    limit = int(owner["spec"].get("revisionHistoryLimit", 10))
    old = [
        r
        for r in revisions_of(registry, owner)
        if (r["metadata"].get("labels") or {}).get(HASH_LABEL) not in used
    ]
    for revision in old[: max(0, len(old) - limit)]:
        registry.delete(CONTROLLER_REVISIONS, *place(revision))
