"""Objects of a custom kind against its schema: prune what it does not know, fill in defaults, say what is wrong.

In: a value and its structural schema, both plain JSON. Out: the value edited in place; FieldErrors. Called by ``rules``. Rules: the API's
pages on structural schemas, pruning and defaulting; the texts are those of kube-openapi's validator.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from typing import Any

from stockade.lab.apiserver.crd.formats import FORMATS
from stockade.lab.apiserver.re2 import compile_go
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.paths import Path, dotted
from stockade.manifests.validate.errors import (
    ErrorType,
    FieldError,
    invalid,
    not_supported,
    required,
    too_long,
)

IDENTITY = ("apiVersion", "kind", "metadata")
PRESERVE, EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def prune(value: Any, schema: JsonObject, path: Path = (), *, root: bool = False) -> list[Path]:
    """Edits ``value``; answers where the unknown fields were."""
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return []
        return [each for at, item in enumerate(value) for each in prune(item, items, (*path, at))]
    if not isinstance(value, dict):
        return []
    gone: list[Path] = []
    kept = IDENTITY if root or schema.get(EMBEDDED) else ()
    for name in list(value):
        inner = _field_schema(schema, name)
        if name in kept and (inner is None or name == "metadata" or root):
            continue
        if inner is not None:
            gone += prune(value[name], inner, (*path, name))
        elif not schema.get(PRESERVE):
            gone.append((*path, name))
            del value[name]
    return gone


def _field_schema(schema: JsonObject, name: str) -> JsonObject | None:
    """None for a field that the schema does not know."""
    properties = schema.get("properties") or {}
    if name in properties:
        return dict(properties[name])
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        return more
    return {PRESERVE: True} if more is True else None


def fill(value: Any, schema: JsonObject) -> None:
    """Defaults, edits ``value``. A null where none is allowed counts as absent when there is a default."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                fill(item, items)
        return
    if not isinstance(value, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        absent = name not in value or (value[name] is None and not inner.get("nullable"))
        if absent and inner.get("default") is not None:
            value[name] = copy.deepcopy(inner["default"])
    for name, item in value.items():
        inner = _field_schema(schema, name)
        if inner is not None:
            fill(item, inner)


def check(value: Any, schema: JsonObject, path: Path) -> Iterator[FieldError]:
    """What the schema says against ``value``. Where the type is wrong, nothing else is said."""
    if value is None and schema.get("nullable"):
        return
    wrong = _type_error(value, schema, path)
    if wrong is not None:
        yield wrong
        return
    if schema.get("enum") is not None and value not in schema["enum"]:
        yield not_supported(path, value, [str(each) for each in schema["enum"]])
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path)
    yield from _check_junctors(value, schema, path)


def is_valid(value: Any, schema: JsonObject) -> bool:
    return next(check(value, schema, ()), None) is None


def _type_error(value: Any, schema: JsonObject, path: Path) -> FieldError | None:
    wanted = schema.get("type", "")
    if schema.get(INT_OR_STRING):
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
        wanted = "integer,string"
    elif not wanted:
        return None
    else:
        fits = isinstance(value, _TYPES.get(wanted, ())) and (
            wanted == "boolean" or not isinstance(value, bool)
        )
        if wanted == "integer" and isinstance(value, float) and value.is_integer():
            fits = True
    if fits:
        return None
    shown = _type_of(value)
    text = f'{_in_body(path)} must be of type {wanted}: "{shown}"'
    return FieldError(ErrorType.TYPE_INVALID, path, shown, text)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    return next(
        name
        for name in ("boolean", "integer", "number", "string", "array", "object")
        if isinstance(value, _TYPES[name])
    )


def _in_body(path: Path) -> str:
    return f"{dotted(path)} in body" if path else "<nil> in body"


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return compile_go(text)  # what Go alone can read is not checked
    except re.error:  # refused when the definition was made
        return None


def _check_text(value: str, schema: JsonObject, path: Path) -> Iterator[FieldError]:
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        yield too_long(path, most)
    if least is not None and len(value) < least:
        yield invalid(path, value, f"{_in_body(path)} should be at least {least} chars long")
    pattern = _pattern(schema["pattern"]) if schema.get("pattern") else None
    if pattern is not None and not pattern.search(value):
        yield invalid(path, value, f"{_in_body(path)} should match '{schema['pattern']}'")
    form = FORMATS.get(schema.get("format", ""))
    if form is not None and not form(value):
        text = f'{_in_body(path)} must be of type {schema["format"]}: "{value}"'
        yield FieldError(ErrorType.TYPE_INVALID, path, value, text)


def _check_number(value: float, schema: JsonObject, path: Path) -> Iterator[FieldError]:
    least, most = schema.get("minimum"), schema.get("maximum")
    where = _in_body(path)
    if most is not None and (value >= most if schema.get("exclusiveMaximum") else value > most):
        word = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{where} should be {word} {most}")
    if least is not None and (value <= least if schema.get("exclusiveMinimum") else value < least):
        word = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{where} should be {word} {least}")
    step = schema.get("multipleOf")
    if step and not math.isclose(value / step, round(value / step), abs_tol=1e-9):
        yield invalid(path, value, f"{where} should be a multiple of {step}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""), 63)
    if isinstance(value, int) and not -(2**bits) <= value < 2**bits:
        yield invalid(path, value, f"{where} must be of type int{bits + 1}")


def _check_list(value: list[Any], schema: JsonObject, path: Path) -> Iterator[FieldError]:
    yield from _check_count(value, schema.get("minItems"), schema.get("maxItems"), path, "items")
    items = schema.get("items")
    if isinstance(items, dict):
        for at, item in enumerate(value):
            yield from check(item, items, (*path, at))
    yield from _check_unique(value, schema, path)


def _check_count(
    value: list[Any] | JsonObject, least: int | None, most: int | None, path: Path, what: str
) -> Iterator[FieldError]:
    if most is not None and len(value) > most:
        yield FieldError(ErrorType.TOO_MANY, path, len(value), f"must have at most {most} items")
    if least is not None and len(value) < least:
        yield invalid(path, len(value), f"{_in_body(path)} should have at least {least} {what}")


def _check_unique(value: list[Any], schema: JsonObject, path: Path) -> Iterator[FieldError]:
    sort, seen = schema.get("x-kubernetes-list-type"), []
    if sort not in ("set", "map"):
        return
    for at, item in enumerate(value):
        key = item
        if sort == "map":
            if not isinstance(item, dict):
                continue
            key = {name: item.get(name) for name in schema.get("x-kubernetes-list-map-keys") or []}
        if key in seen:
            yield FieldError(ErrorType.DUPLICATE, (*path, at), key)
        seen.append(key)


def _check_object(value: JsonObject, schema: JsonObject, path: Path) -> Iterator[FieldError]:
    yield from _check_count(
        value, schema.get("minProperties"), schema.get("maxProperties"), path, "properties"
    )
    for name in schema.get("required") or []:
        if name not in value:
            yield required((*path, name))
    for name, item in value.items():
        inner = _field_schema(schema, name)
        if inner is not None:
            yield from check(item, inner, (*path, name))
    if schema.get(EMBEDDED):
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                yield required((*path, name), "must not be empty")


def _check_junctors(value: Any, schema: JsonObject, path: Path) -> Iterator[FieldError]:
    where = _in_body(path)
    for part in schema.get("allOf") or []:
        yield from check(value, part, path)
    several = schema.get("anyOf")
    if several and not any(is_valid(value, part) for part in several):
        yield invalid(path, "", f"{where} must validate at least one schema (anyOf)")
    one = schema.get("oneOf")
    if one and (found := sum(is_valid(value, part) for part in one)) != 1:
        many = f" Found {found} valid alternatives" if found else " Found none valid"
        yield invalid(path, "", f"{where} must validate one and only one schema (oneOf).{many}")
    none = schema.get("not")
    if none and is_valid(value, none):
        yield invalid(path, "", f"{where} must not validate the schema (not)")
