"""Namespaces: what each one is born with, and how it ends.

In: namespaces and their content. Out: in every active namespace the ServiceAccount ``default`` and the ConfigMap
``kube-root-ca.crt``; a terminating one is emptied and then removed. Pods go first, and nothing else before the last of them
is gone: with its NetworkPolicies deleted, a pod that is still shutting down would be open (KEP-5080). While something is left,
the namespace's conditions say what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.loop import place, run_loop
from stockade.lab.controllers.objects import is_namespace_ending, is_terminating, set_condition
from stockade.lab.controllers.resources import NAMESPACED
from stockade.lab.controllers.workqueue import WorkQueue

ROOT_CA = "kube-root-ca.crt"
REMAINING, HELD = "NamespaceContentRemaining", "NamespaceFinalizersRemaining"
NOT_HELD = "All content-preserving finalizers finished"
_FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
}
"""What cannot go wrong here: type → reason and message."""
_LOOK_AGAIN = 1.0
"""Seconds until we look whether finalizers have let go of what is left."""


class NamespaceController:
    """``ca_certificate`` (PEM) is what pods find in ``kube-root-ca.crt``."""

    def __init__(self, registry: Registry, ca_certificate: str = "") -> None:
        self._registry = registry
        self._ca_certificate = ca_certificate
        self._queue: WorkQueue[str] = WorkQueue()

    async def run(self) -> None:
        watches = {
            "namespaces": _itself,
            "pods": self._left_ending,
            "serviceaccounts": _of_content,
            "configmaps": _of_content,
        }
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _left_ending(self, change: Change) -> Iterable[str]:
        """A pod's end may let its namespace go on ending."""
        name = change.object["metadata"]["namespace"]
        namespace = self._registry.find("namespaces", "", name) if change.type == "DELETED" else None
        return [name] if namespace and is_terminating(namespace) else ()

    def _reconcile(self, name: str) -> None:
        namespace = self._registry.find("namespaces", "", name)
        if namespace is None:
            return
        if not is_terminating(namespace):
            self._furnish(name)
        elif left := self._empty(name, ("pods",)):
            self._report(name, left)  # the last pod's DELETED brings us back
        elif left := self._empty(name, self._others()):
            self._report(name, left)
            self._queue.add_after(name, _LOOK_AGAIN)
        else:
            self._registry.remove("namespaces", "", name, namespace["metadata"]["uid"])

    def _others(self) -> list[str]:
        custom = [name for name, namespaced in self._registry.custom_resources().values() if namespaced]
        return [*(resource for resource in NAMESPACED if resource != "pods"), *dict.fromkeys(custom)]

    def _empty(self, namespace: str, resources: Iterable[str]) -> dict[str, list[JsonObject]]:
        """Delete everything; what is left, by resource."""
        left = {}
        for resource in resources:
            for obj in self._registry.list(resource, namespace):
                if not is_terminating(obj):
                    self._registry.delete(resource, *place(obj))
            if remaining := self._registry.list(resource, namespace):
                left[resource] = remaining
        return left

    def _report(self, name: str, left: Mapping[str, Sequence[JsonObject]]) -> None:
        """Say in the conditions what the namespace waits for."""

        def tell(namespace: JsonObject) -> None:
            conditions = namespace["status"].setdefault("conditions", [])
            for found in _conditions(left):
                set_condition(conditions, found)

        self._registry.mutate("namespaces", "", name, tell, "status")

    def _furnish(self, namespace: str) -> None:
        account: JsonObject = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        note = "The certificate by which clients in this lab know its API server."
        certificate: JsonObject = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ROOT_CA, "annotations": {"kubernetes.io/description": note}},
            "data": {"ca.crt": self._ca_certificate},
        }
        for resource, obj in (("serviceaccounts", account), ("configmaps", certificate)):
            if self._registry.find(resource, namespace, obj["metadata"]["name"]) is None:
                try:
                    self._registry.create(resource, namespace, obj)
                except ApiError as error:
                    if not is_namespace_ending(error):
                        raise


def _conditions(left: Mapping[str, Sequence[JsonObject]]) -> Iterable[JsonObject]:
    finalizers = Counter(
        each
        for objects in left.values()
        for obj in objects
        for each in obj["metadata"].get("finalizers") or ()
    )
    # A resource of the core group ends in a point, too, as the namespace controller of a cluster writes it.
    remaining = [
        f"{resource if '.' in resource else resource + '.'} has {len(objects)} resource instances"
        for resource, objects in sorted(left.items())
    ]
    holding = [f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())]
    for sort, (reason, message) in _FINE.items():
        yield {"type": sort, "status": "False", "reason": reason, "message": message}
    text = f"Some resources are remaining: {', '.join(remaining)}"
    yield {"type": REMAINING, "status": "True", "reason": "SomeResourcesRemain", "message": text}
    text = f"Some content in the namespace has finalizers remaining: {', '.join(holding)}"
    held = {"type": HELD, "status": "True", "reason": "SomeFinalizersRemain", "message": text}
    fine = {"type": HELD, "status": "False", "reason": "ContentHasNoFinalizers", "message": NOT_HELD}
    yield held if holding else fine


def _itself(change: Change) -> Iterable[str]:
    return () if change.type == "DELETED" else (change.object["metadata"]["name"],)


def _of_content(change: Change) -> Iterable[str]:
    """What a namespace is born with was deleted: give it back."""
    gone = change.type == "DELETED" and change.object["metadata"]["name"] in {"default", ROOT_CA}
    return (change.object["metadata"]["namespace"],) if gone else ()
