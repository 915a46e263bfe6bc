"""Reading raw objects whose types were checked: a null or absent field is the type's zero value."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def child(obj: JsonObject, key: str) -> JsonObject:
    """The object at ``key``; empty when absent, null, or (unchecked input) something else."""
    value = obj.get(key)
    return value if isinstance(value, dict) else {}


def children(obj: JsonObject, key: str) -> list[JsonObject]:
    """The list of objects at ``key``; a null item is an empty object."""
    return [item if isinstance(item, dict) else {} for item in items(obj, key)]


def items(obj: JsonObject, key: str) -> list[Any]:
    value = obj.get(key)
    return value if isinstance(value, list) else []


def text(obj: JsonObject, key: str) -> str:
    value = obj.get(key)
    return value if isinstance(value, str) else ""
