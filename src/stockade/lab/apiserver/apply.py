"""Server-side apply: who set which field, and what a second apply takes away again (KEP-555).

In: the stored object, the applied configuration and its manager. Out: the merged object and the new ``managedFields``.
Called by the PATCH handler. Only managers that apply are recorded; other writers are not, so that they never conflict.
How a list or map merges (by key, as a set, as one value) comes from the field tables and, where the API's structured-merge
markers differ from the strategic ones, from the two tables below.

A field set is a set of paths in the notation of fieldsV1: ``("f:spec", 'k:{"name":"web"}', "f:image")``; "." as the last
element means a list item itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from stockade.lab.apiserver.failures import Cause, failure
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import ApiError, JsonObject
from stockade.manifests import schema
from stockade.manifests.schema import FieldSpec, TypeSpec

ATOMIC_TYPES = (
    "LabelSelector",
    "NodeSelector",
    "ObjectReference",
    "LocalObjectReference",
    "Selector",
    "KeySelector",
)
ATOMIC_MAPS = ("nodeSelector", "selector")
BY_PROTOCOL = ("containerPort", "port")  # ports are told apart by number and protocol
IDENTITY = ("apiVersion", "kind")
UNOWNED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")

Path = tuple[str, ...]
Fields = frozenset[Path]


class Applied(msgspec.Struct, frozen=True):
    """``managers`` is the new value of ``metadata.managedFields``."""

    object: JsonObject
    managers: list[JsonObject]


def apply(
    kind: Kind, held: JsonObject, config: JsonObject, manager: str, *, force: bool, now: str
) -> Applied:
    """``held`` is not changed. Raises ApiError Conflict when another manager applied a different value, unless ``force``."""
    spec = schema.type_of(kind.api_version, kind.kind)
    assert spec is not None  # every served kind is in the tables
    entries = list(held["metadata"].get("managedFields") or []) if "metadata" in held else []
    owned = {entry["manager"]: _parse(entry.get("fieldsV1") or {}) for entry in entries}
    wanted = frozenset(_object_fields(config, spec, ()))
    before = owned.pop(manager, frozenset())
    disputed = {
        (other, path)
        for other, fields in owned.items()
        for path in fields & wanted
        if path[-1] != "." and _read(held, path) != _read(config, path)
    }
    if disputed and not force:
        raise _conflict(sorted(disputed))
    merged: JsonObject = msgspec.json.decode(msgspec.json.encode(held))
    kept_by_others = frozenset().union(*owned.values())
    for path in sorted(before - wanted - kept_by_others, key=lambda path: path[-1] != "."):
        _remove(merged, path)  # items first: without its keys an item could not be found
    merged = _merge_object(merged, config, spec)
    taken = {path for _, path in disputed}
    managers = [
        {**entry, "fieldsV1": _tree(owned[entry["manager"]] - taken)}
        for entry in entries
        if entry["manager"] in owned and owned[entry["manager"]] - taken
    ]
    own = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        "time": next((e["time"] for e in entries if e["manager"] == manager and before == wanted), now),
        "fieldsType": "FieldsV1",
        "fieldsV1": _tree(wanted),
    }
    return Applied(merged, [*managers, own])


def _conflict(disputed: list[tuple[str, Path]]) -> ApiError:
    """kubectl shows the message and explains ``--force-conflicts``."""
    causes = [
        Cause("FieldManagerConflict", f'conflict with "{other}"', _shown(path)) for other, path in disputed
    ]
    count = "1 conflict" if len(causes) == 1 else f"{len(causes)} conflicts"
    listed = [f"{cause.message}: {cause.field}" for cause in causes]
    text = listed[0] if len(listed) == 1 else "\n" + "\n".join(f"- {line}" for line in listed)
    details = {"causes": [msgspec.to_builtins(cause) for cause in causes]}
    return failure(409, "Conflict", f"Apply failed with {count}: {text}", details)


def _shown(path: Path) -> str:
    text = ""
    for element in path:
        sort, _, rest = element.partition(":")
        if sort == "f":
            text += f".{rest}"
        elif sort == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
    return text


# field sets


def _object_fields(value: JsonObject, spec: TypeSpec, path: Path) -> Iterator[Path]:
    for name, item in value.items():
        field = spec.fields.get(name)
        hidden = UNOWNED if path == ("f:metadata",) else IDENTITY if not path else ()
        if field is not None and name not in hidden and item is not None:
            yield from _fields(item, field, (*path, f"f:{name}"))


def _fields(value: Any, field: FieldSpec, path: Path) -> Iterator[Path]:
    spec = _inner(field)
    if field.type == "object" and spec and value:
        yield from _object_fields(value, spec, path)
    elif field.type == "map" and value and not _is_atomic_map(field):
        yield from ((*path, f"f:{key}") for key in value)
    elif field.type == "list" and field.merge_key:
        for item in value:
            here = (*path, _element(item, field))
            yield (*here, ".")
            if spec:
                yield from _object_fields(item, spec, here)
    elif field.type == "list" and _is_set(field):
        yield from ((*path, f"v:{json.dumps(item)}") for item in value)
    else:
        yield path


def _inner(field: FieldSpec) -> TypeSpec | None:
    """The type to descend into; None for a value that is owned as a whole."""
    if not field.ref or field.ref.rpartition(".")[2].endswith(ATOMIC_TYPES):
        return None
    return schema.types()[field.ref]


def _is_atomic_map(field: FieldSpec) -> bool:
    return field.name in ATOMIC_MAPS or bool(field.ref)


def _is_set(field: FieldSpec) -> bool:
    return not field.merge_key and "merge" in field.patch_strategy.split(",")


def _element(item: JsonObject, field: FieldSpec) -> str:
    return "k:" + json.dumps(_keys(item, field), separators=(",", ":"), sort_keys=True)


def _keys(item: JsonObject, field: FieldSpec) -> JsonObject:
    keys = {field.merge_key: item.get(field.merge_key)}
    return {**keys, "protocol": item.get("protocol") or "TCP"} if field.merge_key in BY_PROTOCOL else keys


def _tree(fields: Fields | set[Path]) -> JsonObject:
    root: JsonObject = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
    return root


def _parse(tree: JsonObject, path: Path = ()) -> Fields:
    if not tree:
        return frozenset({path}) if path else frozenset()
    return frozenset().union(*(_parse(child, (*path, element)) for element, child in tree.items()))


# reading, removing, merging


def _find(container: Any, element: str) -> Any:
    """The index or key of ``element`` in ``container``; None when it is not there."""
    sort, _, rest = element.partition(":")
    if sort == "f":
        return rest if isinstance(container, dict) and rest in container else None
    if not isinstance(container, list):
        return None
    wanted = json.loads(rest)
    for index, item in enumerate(container):
        if (
            item == wanted
            if sort == "v"
            else all(_same_key(item, key, value) for key, value in wanted.items())
        ):
            return index
    return None


def _same_key(item: JsonObject, key: str, value: Any) -> bool:
    return bool((item.get(key) or ("TCP" if key == "protocol" else None)) == value)


def _read(value: Any, path: Path) -> Any:
    for element in path:
        at = _find(value, element)
        if at is None:
            return None
        value = value[at]
    return value


def _remove(value: Any, path: Path) -> None:
    if path[-1] == ".":
        path = path[:-1]
    for element in path[:-1]:
        at = _find(value, element)
        if at is None:
            return
        value = value[at]
    last = _find(value, path[-1])
    if last is not None:
        del value[last]


def _merge_object(held: Any, config: JsonObject, spec: TypeSpec) -> JsonObject:
    merged = dict(held) if isinstance(held, dict) else {}
    for name, item in config.items():
        field = spec.fields.get(name)
        merged[name] = item if field is None else _merge(merged.get(name), item, field)
    return merged


def _merge(held: Any, item: Any, field: FieldSpec) -> Any:
    spec = _inner(field)
    if item is None:
        return held
    if field.type == "object" and spec:
        return _merge_object(held, item, spec)
    if field.type == "map" and not _is_atomic_map(field):
        return {**(held or {}), **item}
    if field.type == "list" and field.merge_key and spec:
        return _merge_list(list(held or []), item, field, spec)
    if field.type == "list" and _is_set(field):
        return [*(held or []), *(value for value in item if value not in (held or []))]
    return item


def _merge_list(held: list[Any], config: list[Any], field: FieldSpec, spec: TypeSpec) -> list[Any]:
    for item in config:
        at = _find(held, _element(item, field))
        if at is None:
            held.append(item)
        else:
            held[at] = _merge_object(held[at], item, spec)
    return held
