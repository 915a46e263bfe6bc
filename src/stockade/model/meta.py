"""Object metadata, and the name by which everybody refers to an object.

In: decoded JSON or YAML. Out: frozen Structs. Unknown fields are skipped: these are views for decisions,
never the stored object (the lab's API server stores raw JSON and round-trips what we do not model).
"""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all object views: frozen, camelCase on the wire, defaults left out when encoded."""


class ObjectRef(msgspec.Struct, frozen=True, order=True):
    """``namespace/name`` of one object; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(View, frozen=True, kw_only=True):
    """metadata.ownerReferences[]: who controls this object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(View, frozen=True, kw_only=True):
    """The part of metadata that decisions and messages need."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    owner_references: list[OwnerReference] | None = None

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.namespace, self.name)
