"""Validation of metadata and of label selectors (V1, V2, V17-V22), and of what an update may not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockade.manifests.paths import Path
from stockade.manifests.validate import names
from stockade.manifests.validate.access import JsonObject, child, children, items, text
from stockade.manifests.validate.errors import FieldError, each, forbidden, invalid, required, too_long

Names = Callable[[str], list[str]]
_ANNOTATIONS_LIMIT = 256 * 1024
_META: Path = ("metadata",)
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")
_VALUES_WANTED = "must be specified when `operator` is 'In' or 'NotIn'"
_VALUES_UNWANTED = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"


def metadata(obj: JsonObject, name_form: Names, *, namespaced: bool = True) -> list[FieldError]:
    """``name_form`` says which names the kind may have."""
    meta = child(obj, "metadata")
    name, prefix, namespace = text(meta, "name"), text(meta, "generateName"), text(meta, "namespace")
    errors: list[FieldError] = []
    if prefix:  # the server appends five characters; only the given part can be wrong
        errors += each((*_META, "generateName"), prefix, lambda value: name_form(value.rstrip("-.") + "x"))
    if name:
        errors += each((*_META, "name"), name, name_form)
    elif not prefix:
        errors.append(required((*_META, "name"), "name or generateName is required"))
    if namespaced and namespace:
        errors += each((*_META, "namespace"), namespace, names.dns_label)
    if not namespaced and namespace:
        errors.append(forbidden((*_META, "namespace"), "not allowed on this type"))
    errors += labels(child(meta, "labels"), (*_META, "labels"))
    errors += annotation_pairs(child(meta, "annotations"), (*_META, "annotations"))
    return errors + _owners(meta)


def _owners(meta: JsonObject) -> list[FieldError]:
    """metav1.OwnerReference: the garbage collector follows all four fields."""
    errors: list[FieldError] = []
    for index, owner in enumerate(children(meta, "ownerReferences")):
        at = (*_META, "ownerReferences", index)
        if not text(owner, "apiVersion"):
            errors.append(invalid((*at, "apiVersion"), "", "version must not be empty"))
        errors += [
            invalid((*at, key), "", "must not be empty")
            for key in ("kind", "name", "uid")
            if not text(owner, key)
        ]
    return errors


def labels(pairs: JsonObject, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in sorted(pairs.items()):
        errors += each(path, key, names.label_key)
        errors += each(path, value or "", names.label_value)
    return errors


def annotation_pairs(pairs: JsonObject, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in sorted(pairs):
        errors += [invalid(path, key, detail) for detail in names.label_key(key.lower())]
    size = sum(len(key.encode()) + len(str(value or "").encode()) for key, value in pairs.items())
    return [*errors, too_long(path, _ANNOTATIONS_LIMIT)] if size > _ANNOTATIONS_LIMIT else errors


def selector(value: JsonObject, path: Path) -> list[FieldError]:
    """A LabelSelector; null and empty are fine."""
    errors = labels(child(value, "matchLabels"), (*path, "matchLabels"))
    for index, rule in enumerate(children(value, "matchExpressions")):
        errors += _requirement(rule, (*path, "matchExpressions", index))
    return errors


def _requirement(rule: JsonObject, path: Path) -> list[FieldError]:
    operator, values = text(rule, "operator"), items(rule, "values")
    errors: list[FieldError] = []
    if operator in {"In", "NotIn"}:
        if not values:
            errors.append(required((*path, "values"), _VALUES_WANTED))
    elif operator in {"Exists", "DoesNotExist"}:
        if values:
            errors.append(forbidden((*path, "values"), _VALUES_UNWANTED))
    else:
        errors.append(invalid((*path, "operator"), operator, "not a valid selector operator"))
    errors += each((*path, "key"), text(rule, "key"), names.label_key)
    for index, value in enumerate(values):
        errors += each((*path, "values", index), value or "", names.label_value)
    return errors


def metadata_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """``field is immutable`` for what an update must leave alone; an absent field takes the old value (server's rule)."""
    before, after = child(old, "metadata"), child(new, "metadata")
    return [
        immutable((*_META, key), after.get(key))
        for key in _IMMUTABLE
        if after.get(key) and after.get(key) != before.get(key)
    ]


def immutable(path: Path, value: Any) -> FieldError:
    return invalid(path, value, "field is immutable")
