"""Server-side apply: merge a configuration, take away what its manager no longer applies, refuse what others own (KEP-555).

In: the stored object, the applied configuration and its manager. Out: the merged object and the new entries of managedFields. Called by the
PATCH handler. How a list or map merges (by key, as a set, as one value) is told by ``shapes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stockade.lab.apiserver.failures import Cause, failure
from stockade.lab.apiserver.fieldsets import ITEM, Path, element, find, leaves, remove, shown
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.managed import APPLY, Entry, Writer, before_first_apply, entries_of
from stockade.lab.apiserver.registry import ApiError, JsonObject
from stockade.lab.apiserver.shapes import Shape, shape_of


class Applied(msgspec.Struct, frozen=True):
    object: JsonObject
    entries: list[Entry]


def apply(
    kind: Kind, held: JsonObject | None, config: JsonObject, writer: Writer, *, force: bool, now: str
) -> Applied:
    """``held`` is not changed. Raises ApiError Conflict when another manager set a different value, unless ``force``."""
    shape = shape_of(kind)
    entries = entries_of(held) or before_first_apply(kind, held) if held is not None else []
    mine = [entry for entry in entries if entry.same_writer(writer)]
    others = [entry for entry in entries if not entry.same_writer(writer)]
    wanted, present = leaves(config, shape), leaves(held or {}, shape)
    disputed = [
        (entry, path)
        for entry in others
        for path in sorted(entry.fields & wanted.keys())
        if path[-1] != ITEM and present.get(path) != wanted[path] and not _adds_nothing(path, wanted, present)
    ]
    if disputed and not force:
        raise _conflict(disputed)
    kept_by_others = frozenset[Path]().union(*(entry.fields for entry in others))
    before = frozenset[Path]().union(*(entry.fields for entry in mine))
    merged: JsonObject = msgspec.json.decode(msgspec.json.encode(held or {}))
    for path in sorted(before - wanted.keys() - kept_by_others, key=lambda path: path[-1] != ITEM):
        remove(merged, path)  # items first: without its keys an item could not be found
    merged = _merge_map(merged, config, shape)
    taken = frozenset(path for _, path in disputed)
    left = [
        Entry(entry.writer, entry.fields - taken, entry.time) if entry.fields & taken else entry
        for entry in others
    ]
    fields = frozenset(wanted)
    time = mine[0].time if mine and mine[0].fields == fields else now
    return Applied(merged, [*(entry for entry in left if entry.fields), Entry(writer, fields, time)])


def _adds_nothing(path: Path, wanted: Mapping[Path, Any], present: Mapping[Path, Any]) -> bool:
    """An empty map, to be merged into one that has fields."""
    return wanted[path] == {} and any(len(p) > len(path) and p[: len(path)] == path for p in present)


def applier(manager: str, kind: Kind, subresource: str) -> Writer:
    return Writer(manager, APPLY, kind.api_version, subresource)


def _conflict(disputed: list[tuple[Entry, Path]]) -> ApiError:
    """kubectl shows the message and explains ``--force-conflicts``."""
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_named(entry.writer)}", shown(path))
        for entry, path in disputed
    ]
    count = "1 conflict" if len(causes) == 1 else f"{len(causes)} conflicts"
    listed = [f"{cause.message}: {cause.field}" for cause in causes]
    text = listed[0] if len(listed) == 1 else "\n" + "\n".join(f"- {line}" for line in listed)
    details = {"causes": [msgspec.to_builtins(cause) for cause in causes]}
    return failure(409, "Conflict", f"Apply failed with {count}: {text}", details)


def _named(writer: Writer) -> str:
    text = f'"{writer.manager}"'
    if writer.subresource:
        text += f' with subresource "{writer.subresource}"'
    return text if writer.operation == APPLY else f"{text} using {writer.api_version}"


def _merge_map(held: Any, config: JsonObject, shape: Shape) -> JsonObject:
    merged = dict(held) if isinstance(held, dict) else {}
    for name, item in config.items():
        inner = shape.field(name)
        merged[name] = item if inner is None else _merge(merged.get(name), item, inner)
    return merged


def _merge(held: Any, item: Any, shape: Shape) -> Any:
    if item is None:
        return held
    if shape.form in ("map", "free") and isinstance(item, dict):
        return _merge_map(held, item, shape)
    if shape.form == "list" and isinstance(item, list):
        return _merge_list(list(held or []), item, shape)
    if shape.form == "set" and isinstance(item, list):
        return [*(held or []), *(value for value in item if value not in (held or []))]
    return item


def _merge_list(held: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    inner = shape.field("")
    for item in config:
        at = find(held, element(item, shape.keys)) if isinstance(item, dict) else None
        if at is None or inner is None:
            held.append(item)
        else:
            held[at] = _merge_map(held[at], item, inner)
    return held
