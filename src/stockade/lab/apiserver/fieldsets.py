"""Sets of fields: what an object holds and what ``metadata.managedFields`` says about it, in the notation of fieldsV1.

A path is ``("f:spec", 'k:{"name":"web"}', "f:image")``; "." as the last element means a list item itself. Pure. Called by ``apply`` and ``managed``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.shapes import Shape

IDENTITY = ("apiVersion", "kind")
UNOWNED = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "generation",
    "selfLink",
)
Path = tuple[str, ...]
Fields = frozenset[Path]
ITEM = "."


def leaves(obj: JsonObject, shape: Shape) -> dict[Path, Any]:
    """Every field that can be owned, with its value; None for a list item as such."""
    return dict(_of_map(obj, shape, ()))


class Changes(msgspec.Struct, frozen=True):
    """``changed``: what is new or has another value."""

    changed: list[Path]
    removed: list[Path]


def changes(old: JsonObject, new: JsonObject, shape: Shape) -> Changes:
    """What differs between the leaves of two objects. What is equal is not walked through: most of an object is, at most writes."""
    found = Changes([], [])
    _compare_map(old, new, shape, (), found)
    return found


def _compare_map(old: JsonObject, new: JsonObject, shape: Shape, path: Path, found: Changes) -> None:
    hidden = _hidden(path)
    for name in [*new, *(name for name in old if name not in new)]:
        was, becomes = old.get(name), new.get(name)
        inner = None if name in hidden or was == becomes else shape.field(name)
        if inner is not None:
            _compare(was, becomes, inner, (*path, f"f:{name}"), found)


def _compare(was: Any, becomes: Any, shape: Shape, path: Path, found: Changes) -> None:
    if (
        was
        and becomes
        and shape.form in ("map", "free")
        and isinstance(was, dict)
        and isinstance(becomes, dict)
    ):
        _compare_map(was, becomes, shape, path, found)
        return
    if shape.form == "list" and _are_objects(was) and _are_objects(becomes):
        _compare_items(was, becomes, shape, path, found)
        return
    before = {} if was is None else dict(_of_value(was, shape, path))
    after = {} if becomes is None else dict(_of_value(becomes, shape, path))
    found.changed.extend(p for p, value in after.items() if p not in before or before[p] != value)
    found.removed.extend(p for p in before if p not in after)


def _compare_items(was: list[Any], becomes: list[Any], shape: Shape, path: Path, found: Changes) -> None:
    before = {element(item, shape.keys): item for item in was if item not in becomes}
    after = {element(item, shape.keys): item for item in becomes if item not in was}
    inner = shape.field("")
    if inner is None:
        return
    for key in {**after, **before}:
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            side = found.removed if new is None else found.changed
            side.append((*path, key, ITEM))
        _compare_map(old or {}, new or {}, inner, (*path, key), found)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _hidden(path: Path) -> tuple[str, ...]:
    return UNOWNED if path == ("f:metadata",) else IDENTITY if not path else ()


def _of_map(value: JsonObject, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    hidden = _hidden(path)
    for name, item in value.items():
        inner = shape.field(name)
        if inner is not None and name not in hidden and item is not None:
            yield from _of_value(item, inner, (*path, f"f:{name}"))


def _of_value(value: Any, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    if shape.form in ("map", "free") and isinstance(value, dict) and value:
        yield from _of_map(value, shape, path)
    elif shape.form == "list" and _are_objects(value):
        for item in value:
            here = (*path, element(item, shape.keys))
            yield (*here, ITEM), None
            inner = shape.field("")
            if inner is not None:
                yield from _of_map(item, inner, here)
    elif shape.form == "set" and isinstance(value, list):
        yield from (((*path, f"v:{json.dumps(item)}"), None) for item in value)
    else:
        yield path, value


def element(item: JsonObject, keys: Iterable[str]) -> str:
    found = {key: item.get(key) or ("TCP" if key == "protocol" else item.get(key)) for key in keys}
    return "k:" + msgspec.json.encode(found, order="sorted").decode()


def tree(fields: Iterable[Path]) -> JsonObject:
    root: JsonObject = {}
    for path in sorted(fields):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    return root


def plant(root: JsonObject, path: Path) -> bool:
    """Edits the tree; False: it was there."""
    for step in path[:-1]:
        root = root.setdefault(step, {})
    if path[-1] in root:
        return False
    root[path[-1]] = {}
    return True


def uproot(root: JsonObject, path: Path) -> bool:
    """Edits the tree: the path goes, and what it leaves empty above it; False: it was not there, or only as the way to others."""
    inner = root.get(path[0])
    if inner is None or (inner if len(path) == 1 else not uproot(inner, path[1:])):
        return False
    if not inner:
        del root[path[0]]
    return True


def parse(given: Any, path: Path = ()) -> Fields:
    if not given or not isinstance(given, dict):
        return frozenset({path}) if path else frozenset()
    return frozenset().union(*(parse(child, (*path, step)) for step, child in given.items()))


def shown(path: Path) -> str:
    """As messages write it: ``.spec.containers[name="web"].image``."""
    text = ""
    for step in path:
        sort, _, rest = step.partition(":")
        if sort == "f":
            text += f".{rest}"
        elif sort == "k":
            text += (
                "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()) + "]"
            )
        elif sort == "v":
            text += f"[={rest}]"
    return text


def find(container: Any, step: str) -> Any:
    """The index or key of ``step`` in ``container``; None when it is not there."""
    sort, _, rest = step.partition(":")
    if sort == "f":
        return rest if isinstance(container, dict) and rest in container else None
    if not isinstance(container, list):
        return None
    wanted = json.loads(rest)
    for index, item in enumerate(container):
        if item == wanted if sort == "v" else element(item, wanted) == step:
            return index
    return None


def remove(value: Any, path: Path) -> None:
    """Edits ``value``; what is left empty stays."""
    if path[-1] == ITEM:
        path = path[:-1]
    for step in path[:-1]:
        at = find(value, step)
        if at is None:
            return
        value = value[at]
    last = find(value, path[-1])
    if last is not None:
        del value[last]
