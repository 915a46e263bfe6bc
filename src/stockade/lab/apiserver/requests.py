"""What a request asks for: its path, query and Accept header as values. No I/O; used by every handler."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from stockade.lab.apiserver.failures import bad_request, unknown_path
from stockade.lab.apiserver.kinds import Catalogue, Kind

NAMESPACE_PARTS = ("finalize", "status")  # what follows a namespace's name without being a resource in it


class Target(msgspec.Struct, frozen=True):
    """A resource path below ``/api/v1`` or ``/apis/GROUP/VERSION``; ``name`` "" means the collection."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Shape(Enum):
    """How the answer is to be presented."""

    OBJECT = "object"
    TABLE = "table"
    PARTIAL = "partial"


SHAPES = {
    "Table": Shape.TABLE,
    "PartialObjectMetadata": Shape.PARTIAL,
    "PartialObjectMetadataList": Shape.PARTIAL,
}


def parse_target(served: Catalogue, group: str, version: str, path: str) -> Target:
    """Raises ApiError NotFound for what is not served."""
    parts = [part for part in path.split("/") if part]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in NAMESPACE_PARTS:
        namespace, parts = parts[1], parts[2:]
    kind = served.at(group, version, parts[0]) if parts else None
    if kind is None or len(parts) > 3 or (namespace and not kind.namespaced):
        raise unknown_path()
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if subresource and subresource not in kind.subresources:
        raise unknown_path()
    if name and kind.namespaced and not namespace:
        raise unknown_path()
    return Target(kind, namespace, name, subresource)


def flag(query: Mapping[str, str], name: str) -> bool:
    """As conversion from query parameters reads it: whatever is there and is not ``0`` or ``false`` is true."""
    return query.get(name, "false").lower() not in ("0", "false")


def number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def is_dry_run(query: Mapping[str, str]) -> bool:
    """``options`` has checked the value."""
    return bool(query.get("dryRun"))


def field_validation(query: Mapping[str, str]) -> str:
    """Strict, Warn (the server's default) or Ignore; ``options`` has checked it."""
    return query.get("fieldValidation", "") or "Warn"


def wanted_shape(accept: str) -> Shape:
    """The first media type that we can serve decides, as the client lists them in the order of its preference."""
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        if media in ("application/json", "*/*"):
            given = dict(part.partition("=")[::2] for part in parameters)
            shape = SHAPES.get(given.get("as", ""))
            if shape is not None and given.get("v", "v1") == "v1":
                return shape
            if "as" not in given:
                return Shape.OBJECT
    return Shape.OBJECT
