"""Namespaces: what each one is born with, and how it ends.

In: namespaces and their content. Out: in every active namespace the ServiceAccount ``default`` and the ConfigMap
``kube-root-ca.crt``; a terminating one is emptied and then removed. Pods go first, and nothing else before the last of them
is gone: with its NetworkPolicies deleted, a pod that is still shutting down would be open (KEP-5080).
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.loop import place, run_loop
from stockade.lab.controllers.objects import is_namespace_ending, is_terminating
from stockade.lab.controllers.resources import NAMESPACED
from stockade.lab.controllers.workqueue import WorkQueue

ROOT_CA = "kube-root-ca.crt"
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
        elif self._empty(name, ("pods",)):
            if self._empty(name, self._others()):
                self._registry.remove("namespaces", "", name, namespace["metadata"]["uid"])
            else:
                self._queue.add_after(name, _LOOK_AGAIN)
        # else: the last pod's DELETED brings us back

    def _others(self) -> list[str]:
        custom = [name for name, namespaced in self._registry.custom_resources().values() if namespaced]
        return [*(resource for resource in NAMESPACED if resource != "pods"), *dict.fromkeys(custom)]

    def _empty(self, namespace: str, resources: Iterable[str]) -> bool:
        """Delete everything; True when nothing is left."""
        left = False
        for resource in resources:
            for obj in self._registry.list(resource, namespace):
                if not is_terminating(obj):
                    self._registry.delete(resource, *place(obj))
            left = left or bool(self._registry.list(resource, namespace))
        return not left

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


def _itself(change: Change) -> Iterable[str]:
    return () if change.type == "DELETED" else (change.object["metadata"]["name"],)


def _of_content(change: Change) -> Iterable[str]:
    """What a namespace is born with was deleted: give it back."""
    gone = change.type == "DELETED" and change.object["metadata"]["name"] in {"default", ROOT_CA}
    return (change.object["metadata"]["namespace"],) if gone else ()
