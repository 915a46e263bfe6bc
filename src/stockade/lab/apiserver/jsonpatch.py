"""JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902), with the texts of the API server for what does not apply.

Pure: values in, new values out. Called through ``stockade.lab.apiserver.patch``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NoReturn

Json = Any


class PatchError(Exception):
    """The text is for the client; ``code`` is 400 for a malformed patch, 422 for one that does not apply."""

    def __init__(self, message: str, code: int = 422) -> None:
        super().__init__(message)
        self.code = code


def merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7386: objects merge, null removes, everything else (also lists) replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Json, ops: Json) -> Json:
    """RFC 6902: all operations in order, or PatchError and nothing."""
    if not isinstance(ops, list) or not all(isinstance(op, dict) for op in ops):
        raise PatchError("error decoding patch: a JSON patch is a list of operations", code=400)
    document = copy.deepcopy(target)
    for op in ops:
        name = op.get("op")
        apply = _OPERATIONS.get(name) if isinstance(name, str) else None
        if apply is None:
            raise PatchError(f"Unexpected kind: {'unknown' if name is None else name}")
        document = apply(document, op)
    return document


def _add(document: Json, op: Json) -> Json:
    return _put("add", document, _pointer("add", op, "path"), copy.deepcopy(_given(op)))


def _remove(document: Json, op: Json) -> Json:
    _take("remove", document, _pointer("remove", op, "path"))
    return document


def _replace(document: Json, op: Json) -> Json:
    path = _pointer("replace", op, "path")
    value = copy.deepcopy(_given(op))
    if not path:
        return value
    parent = _parent("replace", document, path)
    _read("replace", parent, path)
    if isinstance(parent, list):
        parent[_index("replace", parent, path)] = value
    else:
        parent[path[-1]] = value
    return document


def _move(document: Json, op: Json) -> Json:
    path, source = _pointer("move", op, "path"), _pointer("move", op, "from")
    if len(path) > len(source) and path[: len(source)] == source:
        raise PatchError("move operation does not apply: a value cannot be moved into itself")
    return _put("move", document, path, _take("move", document, source))


def _copy(document: Json, op: Json) -> Json:
    path, source = _pointer("copy", op, "path"), _pointer("copy", op, "from")
    value = _read("copy", _parent("copy", document, source), source) if source else document
    return _put("copy", document, path, copy.deepcopy(value))


def _test(document: Json, op: Json) -> Json:
    path = _pointer("test", op, "path")
    try:
        value = _read("test", _parent("test", document, path), path) if path else document
    except PatchError:
        value = None  # the API server's library takes a missing value for null here
    if not _equal(value, op.get("value")):
        raise PatchError(f"testing value {op['path']} failed: test failed")
    return document


_OPERATIONS: dict[str, Callable[[Json, Json], Json]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _given(op: Json) -> Json:
    """A left-out value counts as null, as it does in the API server's library."""
    return op.get("value")


def _pointer(name: str, op: Json, key: str) -> list[str]:
    """RFC 6901: "/spec/ports/0" → ["spec", "ports", "0"]; "" is the whole document."""
    text = op.get(key)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(
            f'{name} operation does not apply: "{key}" must be a path that begins with "/", got {text!r}'
        )
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _missing(name: str, path: list[str]) -> NoReturn:
    raise PatchError(
        f'{name} operation does not apply: doc is missing path: "/{"/".join(path)}": missing value'
    )


def _parent(name: str, document: Json, path: list[str]) -> Json:
    """The object or list that holds (or shall hold) the last part of ``path``."""
    at = document
    for depth, part in enumerate(path[:-1]):
        at = _read(name, at, [*path[:depth], part])
    if not isinstance(at, dict | list):
        _missing(name, path)
    return at


def _read(name: str, parent: Json, path: list[str]) -> Json:
    if isinstance(parent, list):
        return parent[_index(name, parent, path)]
    if not isinstance(parent, dict) or path[-1] not in parent:
        _missing(name, path)
    return parent[path[-1]]


def _index(name: str, parent: list[Json], path: list[str], limit: int | None = None) -> int:
    part = path[-1]
    if not part.isdecimal() or (part.startswith("0") and part != "0"):
        raise PatchError(f'{name} operation does not apply: "{part}" is not an index of the list')
    index = int(part)
    if index >= (len(parent) if limit is None else limit):
        raise PatchError(
            f"{name} operation does not apply: Unable to access invalid index: {index}: invalid index referenced"
        )
    return index


def _put(name: str, document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent = _parent(name, document, path)
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif path[-1] == "-":
        parent.append(value)
    else:
        parent.insert(_index(name, parent, path, limit=len(parent) + 1), value)
    return document


def _take(name: str, document: Json, path: list[str]) -> Json:
    if not path:
        raise PatchError(f"{name} operation does not apply: the whole document cannot be removed")
    parent = _parent(name, document, path)
    value = _read(name, parent, path)
    if isinstance(parent, list):
        parent.pop(int(path[-1]))
    else:
        del parent[path[-1]]
    return value


def _equal(left: Json, right: Json) -> bool:
    """JSON equality: ``true`` is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
