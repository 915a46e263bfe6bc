"""Strategic merge patch: what ``kubectl apply``, ``edit`` and ``set image`` send for built-in kinds.

Lists of objects are merged by a key (containers by ``name``) where the API type says so, else replaced. Which lists, comes
from ``merge_keys``: the path of a list (field names only, no indexes) → its merge key, "" for a merged list of plain values
(finalizers), None for a list that is replaced (every list of a NetworkPolicy).

Directives (API conventions, "strategic merge patch"): ``$patch`` replace|delete|merge, ``$retainKeys``,
``$setElementOrder/FIELD``, ``$deleteFromPrimitiveList/FIELD``. Pure; called through ``stockade.lab.apiserver.patch``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from stockade.lab.apiserver.jsonpatch import PatchError

Json = Any
Path = tuple[str, ...]
MergeKeys = Callable[[Path], str | None] | Mapping[Path, str]

_PATCH, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"

_BY_FIELD = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "finalizers": "",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_CONTAINERS = {"containers", "initContainers", "ephemeralContainers"}


def builtin_merge_key(path: Path) -> str | None:
    """Merge keys of the core and apps kinds by field name; NetworkPolicy and every field not listed here: replaced."""
    if path[-1] == "ports" and len(path) > 1:
        if path[-2] in _CONTAINERS:
            return "containerPort"
        return "port" if path == ("spec", "ports") else None
    if path == ("status", "addresses"):
        return "type"
    return _BY_FIELD.get(path[-1])


def strategic_merge_patch(original: Json, patch: Json, merge_keys: MergeKeys = builtin_merge_key) -> Json:
    """The patched object, as a new value. Raises PatchError."""
    if not isinstance(patch, dict):
        raise PatchError("error decoding patch: a strategic merge patch is an object", code=400)
    key_of = merge_keys if callable(merge_keys) else merge_keys.get
    return _Merge(key_of).objects(copy.deepcopy(original), copy.deepcopy(patch), ())


class _Merge:
    """One patch being applied; the values it works on are its own copies."""

    def __init__(self, key_of: Callable[[Path], str | None]) -> None:
        self._key_of = key_of

    def objects(self, original: dict[str, Json], patch: dict[str, Json], path: Path) -> dict[str, Json]:
        match patch.pop(_PATCH, "merge"):
            case "replace":
                return dict(_without_directives(patch))
            case "delete":
                return {}
            case "merge":
                pass
            case other:
                raise PatchError(f"unknown patch type found: {other}", code=400)
        original = _retain(original, patch)
        orders, deletions = _take(patch, _ORDER), _take(patch, _DELETE)
        for key, value in patch.items():
            if value is None:
                original.pop(key, None)
            else:
                original[key] = self._field(original.get(key), value, (*path, key), orders.get(key))
        for key, values in deletions.items():
            if isinstance(original.get(key), list):
                original[key] = [value for value in original[key] if value not in values]
        for key, order in orders.items():
            if key not in patch and isinstance(original.get(key), list):
                server_order = original[key]
                original[key] = _ordered(server_order, server_order, order, self._key_of((*path, key)))
        return original

    def _field(self, original: Json, value: Json, path: Path, order: list[Json] | None) -> Json:
        if isinstance(original, dict) and isinstance(value, dict):
            return self.objects(original, value, path)
        if isinstance(original, list) and isinstance(value, list):
            key = self._key_of(path)
            if key is not None:
                merged = self._list(original, value, key, path)
                return merged if order is None else _ordered(merged, original, order, key)
        return _without_directives(value)

    def _list(self, original: list[Json], patch: list[Json], key: str, path: Path) -> list[Json]:
        if not key:
            return original + [value for value in patch if value not in original]
        if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
            return [
                _without_directives(item) for item in patch if item.get(_PATCH) != "replace" or len(item) > 1
            ]
        result = list(original)
        for item in patch:
            if not isinstance(item, dict) or key not in item:
                raise PatchError(f"map: {item} does not contain declared merge key: {key}", code=400)
            at = next((n for n, old in enumerate(result) if old.get(key) == item[key]), None)
            if item.get(_PATCH) == "delete":
                if at is not None:
                    del result[at]
            elif at is None:
                result.append(_without_directives(item))
            else:
                result[at] = self.objects(result[at], item, path)
        return result


def _retain(original: dict[str, Json], patch: dict[str, Json]) -> dict[str, Json]:
    """``$retainKeys`` names every field the object may keep (a union: Recreate has no rollingUpdate)."""
    keys = patch.pop(_RETAIN, None)
    if keys is None:
        return original
    if not isinstance(keys, list):
        raise PatchError("the value of $retainKeys must be a list", code=400)
    if stray := [
        key for key, value in patch.items() if value is not None and key not in keys and key[:1] != "$"
    ]:
        raise PatchError(f"{stray[0]} is in the patch but not in its $retainKeys list", code=400)
    return {key: value for key, value in original.items() if key in keys}


def _take(patch: dict[str, Json], prefix: str) -> dict[str, list[Json]]:
    """Remove the directives that begin with ``prefix`` from ``patch``; the field each is for → its list."""
    found = {key.removeprefix(prefix): patch.pop(key) for key in list(patch) if key.startswith(prefix)}
    if wrong := [field for field, value in found.items() if not isinstance(value, list)]:
        raise PatchError(f"the value of {prefix}{wrong[0]} must be a list", code=400)
    return found


def _ordered(items: list[Json], server: list[Json], order: list[Json], key: str | None) -> list[Json]:
    """Items named in ``order`` stand in that order; the server's others keep their place relative to them."""

    def identity(item: Json) -> Json:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(entry) for entry in order]
    place = [identity(item) for item in server]
    named = sorted((i for i in items if identity(i) in wanted), key=lambda i: wanted.index(identity(i)))
    others = [item for item in items if identity(item) not in wanted]
    result: list[Json] = []
    while named and others:
        first, other = identity(named[0]), identity(others[0])
        known = first in place and other in place
        later = known and place.index(other) < place.index(first)
        result.append((others if later else named).pop(0))
    return result + named + others


def _without_directives(value: Json) -> Json:
    """A value that is new to the object: directives and nulls have done their work."""
    if isinstance(value, list):
        kept = [v for v in value if not (isinstance(v, dict) and v.get(_PATCH) == "delete")]
        return [_without_directives(item) for item in kept]
    if not isinstance(value, dict):
        return value
    directives = (_ORDER, _DELETE)
    return {
        key: _without_directives(entry)
        for key, entry in value.items()
        if entry is not None and key not in {_PATCH, _RETAIN} and not key.startswith(directives)
    }
