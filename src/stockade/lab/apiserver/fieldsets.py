"""Sets of fields: what an object holds and what ``metadata.managedFields`` says about it, in the notation of fieldsV1.

A path is ``("f:spec", 'k:{"name":"web"}', "f:image")``; "." as the last element means a list item itself. Pure. Called by ``apply`` and ``managed``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

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


def _of_map(value: JsonObject, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    hidden = UNOWNED if path == ("f:metadata",) else IDENTITY if not path else ()
    for name, item in value.items():
        inner = shape.field(name)
        if inner is not None and name not in hidden and item is not None:
            yield from _of_value(item, inner, (*path, f"f:{name}"))


def _of_value(value: Any, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    if shape.form in ("map", "free") and isinstance(value, dict) and value:
        yield from _of_map(value, shape, path)
    elif shape.form == "list" and isinstance(value, list) and all(isinstance(item, dict) for item in value):
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
    return "k:" + json.dumps(found, separators=(",", ":"), sort_keys=True)


def tree(fields: Iterable[Path]) -> JsonObject:
    root: JsonObject = {}
    for path in sorted(fields):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    return root


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
