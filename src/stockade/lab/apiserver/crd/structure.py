"""Is a schema structural? What a CustomResourceDefinition's schema may say and must say.

In: ``openAPIV3Schema``. Out: FieldErrors. Called by ``checking``. Rules: the API's page on structural schemas; texts of apiextensions'
``schema.ValidateStructural``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stockade.lab.apiserver.crd.rules import problems
from stockade.lab.apiserver.crd.values import INT_OR_STRING, PRESERVE, check, prune
from stockade.lab.apiserver.re2 import compile_go
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.paths import Path
from stockade.manifests.validate.errors import FieldError, forbidden, invalid, not_supported, required

NEVER = ("$ref", "$schema", "id", "definitions", "dependencies", "patternProperties", "additionalItems")
NOT_IN_JUNCTORS = ("description", "type", "default", "additionalProperties", "nullable")
JUNCTORS = ("allOf", "anyOf", "oneOf")
TYPES = ("object", "array", "string", "integer", "number", "boolean")
LIST_TYPES, MAP_TYPES = ("atomic", "set", "map"), ("atomic", "granular")


def structural_errors(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    if schema.get("type") not in ("object", None, ""):
        yield invalid((*path, "type"), schema["type"], "must be object at the root")
    if not schema.get("type"):
        yield required((*path, "type"), "must not be empty at the root")
    yield from _errors(schema, path, root=True)


def _errors(schema: JsonObject, path: Path, *, root: bool = False, what: str = "") -> Iterator[FieldError]:
    yield from _keywords(schema, path)
    free = schema.get(INT_OR_STRING) or schema.get(PRESERVE)
    if not root and not schema.get("type") and not free:
        yield required((*path, "type"), f"must not be empty for specified {what}")
    if schema.get("type") and schema["type"] not in TYPES:
        yield not_supported((*path, "type"), schema["type"], TYPES)
    if schema.get("type") and schema.get(INT_OR_STRING):
        yield forbidden((*path, "type"), f"must be empty if {INT_OR_STRING} is true")
    yield from _list_and_map(schema, path)
    for name, inner in (schema.get("properties") or {}).items():
        where = (*path, "properties", name)
        if root and name == "metadata":
            yield from _metadata(inner, where)
        else:
            yield from _errors(inner, where, what="object fields")
    more, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(more, dict):
        yield from _errors(more, (*path, "additionalProperties"), what="object fields")
    if isinstance(items, dict):
        yield from _errors(items, (*path, "items"), what="array items")
    elif items is not None:
        yield forbidden((*path, "items"), "items must be a schema object and not an array")
    yield from _junctors(schema, path)
    yield from problems(schema, path, root=root)
    if "default" in schema:
        yield from _default(schema, (*path, "default"))


def _keywords(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    for key in NEVER:
        if schema.get(key):
            yield forbidden(
                (*path, key), "must not be specified" if key != "$ref" else "$ref is not supported"
            )
    if schema.get("uniqueItems"):
        yield forbidden(
            (*path, "uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )
    if schema.get("properties") and schema.get("additionalProperties") is not None:
        yield forbidden(
            (*path, "additionalProperties"), "additionalProperties and properties are mutual exclusive"
        )
    if schema.get("additionalProperties") is False:
        yield forbidden((*path, "additionalProperties"), "additionalProperties cannot be set to false")
    if schema.get("pattern"):
        try:
            compile_go(schema["pattern"])
        except re.error as error:
            yield invalid(
                (*path, "pattern"),
                schema["pattern"],
                f"must be a valid regular expression, but isn't: {error}",
            )


def _list_and_map(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    sort = schema.get("x-kubernetes-list-type")
    if sort and sort not in LIST_TYPES:
        yield not_supported((*path, "x-kubernetes-list-type"), sort, LIST_TYPES)
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if sort == "map" and not keys:
        yield required(
            (*path, "x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map"
        )
    known = (
        (schema.get("items") or {}).get("properties") or {} if isinstance(schema.get("items"), dict) else {}
    )
    for key in keys:
        if key not in known:
            yield invalid(
                (*path, "x-kubernetes-list-map-keys"), keys, "entries must all be names of item properties"
            )
    map_type = schema.get("x-kubernetes-map-type")
    if map_type and map_type not in MAP_TYPES:
        yield not_supported((*path, "x-kubernetes-map-type"), map_type, MAP_TYPES)


def _metadata(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    """At the root, metadata is the server's own but for restrictions of the name."""
    if schema.get("type") not in (None, "", "object"):
        yield invalid((*path, "type"), schema["type"], "must be object")
    for name in schema.get("properties") or {}:
        if name not in ("name", "generateName"):
            yield forbidden(
                path,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            )
            return


def _junctors(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    """They may restrict what the structure outside declares, not declare anything."""
    parts = [((*path, word, at), part) for word in JUNCTORS for at, part in enumerate(schema.get(word) or [])]
    if schema.get("not"):
        parts.append(((*path, "not"), schema["not"]))
    for where, part in parts:
        yield from _in_junctor(part, schema, where)


def _in_junctor(part: JsonObject, outside: JsonObject, path: Path) -> Iterator[FieldError]:
    two_types = bool(outside.get(INT_OR_STRING))
    for key in NOT_IN_JUNCTORS:
        if part.get(key) and not (key == "type" and two_types):
            yield forbidden((*path, key), "must be empty to be structural")
    declared = outside.get("properties") or {}
    for name, inner in (part.get("properties") or {}).items():
        if name in declared:
            yield from _in_junctor(inner, declared[name], (*path, "properties", name))
        elif not isinstance(outside.get("additionalProperties"), dict):
            yield required(
                _without_junctors((*path, "properties", name)),
                f"because it is defined in {'.'.join(map(str, path))}",
            )
    items, held = part.get("items"), outside.get("items")
    if isinstance(items, dict) and isinstance(held, dict):
        yield from _in_junctor(items, held, (*path, "items"))


def _without_junctors(path: Path) -> Path:
    kept: list[Any] = []
    for at, step in enumerate(path):
        after_junctor = isinstance(step, int) and path[at - 1] in JUNCTORS
        if step not in (*JUNCTORS, "not") and not after_junctor:
            kept.append(step)
    return tuple(kept)


def _default(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    value = schema["default"]
    if value is None:
        return
    yield from (
        FieldError(error.type, path, error.value, error.detail) for error in check(value, schema, path)
    )
    holder = {"default": value}
    if prune(_copied(holder), {"properties": {"default": schema}}):
        yield invalid(path, value, "must be pruned: it has fields that the schema does not know")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
