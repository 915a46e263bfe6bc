"""The registry's face to the rest of the lab (node, controllers, DNS, proxy), and what it may raise.

Calls are synchronous: everything runs in one process on one event loop, and storage answers in microseconds.
Objects are plain JSON values; what a call returns must not be modified by the caller (copy first).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, Protocol

import msgspec

JsonObject = dict[str, Any]
MANAGER: ContextVar[str] = ContextVar("manager", default="")
"""Which part of the cluster the current task is, as ``metadata.managedFields`` names it; "": what it writes has no entry there."""


class Change(msgspec.Struct, frozen=True):
    """``type`` is ADDED, MODIFIED or DELETED; ``object`` carries its resourceVersion."""

    type: str
    object: JsonObject


class ApiError(Exception):
    """A Kubernetes Status failure. ``status`` is the complete Status object (kind Status, code, reason, message, details)."""

    def __init__(self, status: JsonObject) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status["code"])

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))


class Registry(Protocol):
    """``resource`` is the plural, with its group for non-core kinds: ``pods``, ``deployments.apps``,
    ``networkpolicies.networking.k8s.io``, ``endpointslices.discovery.k8s.io``. ``namespace`` is "" for cluster scope
    (and, for list and watch, for all namespaces)."""

    def get(self, resource: str, namespace: str, name: str) -> JsonObject:
        """Raises ApiError NotFound."""

    def find(self, resource: str, namespace: str, name: str) -> JsonObject | None: ...

    def list(self, resource: str, namespace: str = "") -> list[JsonObject]: ...

    def serves(self, resource: str) -> bool:
        """False for a custom kind whose definition is gone or not established."""

    def custom_resources(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """What CustomResourceDefinitions add now: (apiVersion, kind) → the resource, and whether it is namespaced."""

    def create(self, resource: str, namespace: str, obj: JsonObject) -> JsonObject:
        """Defaults, validates, admits and stores, like POST. Raises ApiError AlreadyExists, Invalid …"""

    def mutate(
        self,
        resource: str,
        namespace: str,
        name: str,
        change: Callable[[JsonObject], None],
        subresource: str = "",
    ) -> JsonObject:
        """Read, copy, let ``change`` edit the copy, store it (no event when nothing changed). ``subresource`` "status" keeps
        everything but status. Raises ApiError NotFound."""

    def delete(
        self, resource: str, namespace: str, name: str, grace_seconds: int | None = None
    ) -> JsonObject:
        """Like DELETE: a pod bound to a node gets deletionTimestamp and stays until ``remove``; others go at once unless
        they have finalizers."""

    def remove(self, resource: str, namespace: str, name: str, uid: str = "") -> None:
        """Take a terminating object out for good (the kubelet's last word on a pod)."""

    def watch(self, resource: str, namespace: str = "") -> AsyncIterator[Change]:
        """First every existing object as ADDED, then changes as they happen; ends never. Cancel the consumer to stop."""
