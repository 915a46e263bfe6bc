"""Strict decoding: unknown fields and values of the wrong type, in the words of the API server's decoder.

In: an object as decoded JSON. Out: DecodeProblems in document order. Called by the lab's API server (fieldValidation Strict and
Warn; Ignore prunes silently) and by ``manifests.load`` for files. Rules and texts: reference semantics 1.4; the path in a type
error is that of Go's decoder (struct name, then keys without indexes), so that kubectl prints what it prints on a cluster.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from stockade.manifests import jsonstream, schema
from stockade.manifests.paths import Path, dotted
from stockade.manifests.schema import FieldSpec, TypeSpec

MAX_PROBLEMS = 100
_INTEGERS = {"int32": 2**31, "int64": 2**63, "intOrString": 2**31}
_ZEROS: dict[str, Any] = {
    "quantity": "0",
    "int32": 0,
    "int64": 0,
    "intOrString": 0,
    "bool": False,
    "any": None,
}
_LAYOUTS = {"time": "2006-01-02T15:04:05Z07:00", "microTime": "2006-01-02T15:04:05.000000Z07:00"}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_BAD_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class DecodeProblem(msgspec.Struct, frozen=True, kw_only=True):
    """``message`` is the server's text. An unknown field can be dropped; a type error is always fatal.

    ``known`` lists the fields that exist where an unknown one stands; ``expected`` is the wanted type of a mistyped value.
    """

    path: Path
    message: str
    unknown: bool
    known: tuple[str, ...] = ()
    expected: str = ""


class _Place(msgspec.Struct, frozen=True):
    """Where a value stands, in our terms (path) and in those of the decoder (struct, keys)."""

    path: Path
    go_struct: str
    keys: tuple[str, ...]

    def at(self, step: str | int) -> _Place:
        return _Place((*self.path, step), self.go_struct, self.keys)


def check_fields(obj: dict[str, Any], api_version: str, kind: str) -> list[DecodeProblem]:
    """Unknown fields and type errors, at most 100 of each; of a kind that the schema does not know, metadata alone."""
    found: list[DecodeProblem] = []
    counts: Counter[bool] = Counter()
    for problem in _problems(obj, api_version, kind):
        counts[problem.unknown] += 1
        if counts[problem.unknown] <= MAX_PROBLEMS:  # a flood of the one must not hide the other
            found.append(problem)
    return found


def duplicate_fields(body: bytes | str) -> list[DecodeProblem]:
    """Keys that a JSON object has twice: ``duplicate field "spec.ingress"``. Raises ValueError when ``body`` is not JSON."""
    text = body if isinstance(body, str) else body.decode()
    start = len(text) - len(text.lstrip())
    try:
        duplicates = jsonstream.decode(text, start).duplicates
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return [
        DecodeProblem(path=path, message=f'duplicate field "{dotted(path)}"', unknown=False)
        for path in duplicates
    ]


def prune_unknown(obj: dict[str, Any], api_version: str, kind: str) -> None:
    """Drops unknown fields in place, as the server does under fieldValidation Warn and Ignore."""
    for problem in [p for p in _problems(obj, api_version, kind) if p.unknown]:
        parent: Any = obj
        for step in problem.path[:-1]:
            parent = parent[step]
        del parent[problem.path[-1]]


def _problems(obj: dict[str, Any], api_version: str, kind: str) -> Iterator[DecodeProblem]:
    spec = schema.type_of(api_version, kind)
    if spec is not None:
        return _object(obj, spec, _Place((), spec.go_name, ()))
    meta = obj.get("metadata")  # every kind has this much
    if meta is None:
        return iter(())
    ref = f"{schema.META}.ObjectMeta"
    return _nested(meta, ref, "v1.ObjectMeta", _Place(("metadata",), kind, ("metadata",)))


def drop_nulls(obj: dict[str, Any], api_version: str, kind: str) -> None:
    """Decodes null the way the server does, in place: as an absent field, as the zero value within a list or map.

    Call it when ``check_fields`` found no type errors."""
    spec = schema.type_of(api_version, kind)
    if spec is not None:
        _drop_nulls(obj, spec)


def _drop_nulls(obj: dict[str, Any], spec: TypeSpec) -> None:
    for key in [key for key, value in obj.items() if value is None]:
        del obj[key]
    for key, value in obj.items():
        field = spec.fields.get(key)
        if field is None or not isinstance(value, (dict, list)):
            continue
        if field.type == "object":
            _drop_nulls(value, schema.types()[field.ref])  # type: ignore[arg-type]
            continue
        entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for at, item in entries:
            if item is None:
                value[at] = _ZEROS.get(field.item, {} if field.ref else "")
            elif field.ref:
                _drop_nulls(item, schema.types()[field.ref])


def _object(value: dict[str, Any], spec: TypeSpec, place: _Place) -> Iterator[DecodeProblem]:
    for key, item in value.items():
        field = spec.fields.get(key)
        path = (*place.path, key)
        if field is None:
            message = f'unknown field "{dotted(path)}"'  # dotted() escapes what is not printable
            yield DecodeProblem(path=path, message=message, unknown=True, known=tuple(spec.fields))
        elif item is not None:
            yield from _field(item, field, _Place(path, spec.go_name, (*place.keys, key)))


def _field(value: Any, field: FieldSpec, place: _Place) -> Iterator[DecodeProblem]:
    if field.type == "list":
        if not isinstance(value, list):
            yield _mismatch(value, field.go_type, place, "list")
            return
        for index, item in enumerate(value):
            yield from _element(item, field, place.at(index))
    elif field.type == "map":
        if not isinstance(value, dict):
            yield _mismatch(value, field.go_type, place, "map")
            return
        for key, item in value.items():
            yield from _element(item, field, place.at(key))
    elif field.type == "object":
        yield from _nested(value, field.ref, field.go_type, place)
    else:
        yield from _scalar(value, field.type, field.go_type, place)


def _element(value: Any, field: FieldSpec, place: _Place) -> Iterator[DecodeProblem]:
    if value is None:  # null is the zero value
        return
    if field.ref:
        yield from _nested(value, field.ref, field.item_go_type, place)
    else:
        yield from _scalar(value, field.item, field.item_go_type, place)


def _nested(value: Any, ref: str, go_type: str, place: _Place) -> Iterator[DecodeProblem]:
    if isinstance(value, dict):
        yield from _object(value, schema.types()[ref], place)
    else:
        yield _mismatch(value, go_type, place, "object")


def _scalar(value: Any, wanted: str, go_type: str, place: _Place) -> Iterator[DecodeProblem]:
    if wanted in _INTEGERS and not (wanted == "intOrString" and isinstance(value, str)):
        if type(value) is not int or not -_INTEGERS[wanted] <= value < _INTEGERS[wanted]:
            shown = "int32" if wanted == "intOrString" else go_type
            yield _mismatch(value, shown, place, wanted, literal=True)
    elif wanted == "bool":
        if not isinstance(value, bool):
            yield _mismatch(value, go_type, place, wanted)
    elif wanted == "quantity":
        if isinstance(value, (bool, list, dict)) or not _QUANTITY.fullmatch(str(value).strip()):
            yield _problem(_BAD_QUANTITY, place, wanted)
    elif wanted not in {"any", "intOrString"}:
        yield from _text(value, wanted, go_type, place)


def _text(value: Any, wanted: str, go_type: str, place: _Place) -> Iterator[DecodeProblem]:
    if not isinstance(value, str):
        yield _mismatch(value, "string" if wanted in _LAYOUTS else go_type, place, wanted)
    elif wanted in _LAYOUTS and not _TIMESTAMP.fullmatch(value):
        message = f'parsing time "{value}" as "{_LAYOUTS[wanted]}": cannot parse "{value}" as "2006"'
        yield _problem(message, place, wanted)
    elif wanted == "bytes" and (bad := _base64_error(value)) is not None:
        yield _problem(f"illegal base64 data at input byte {bad}", place, wanted)


def _base64_error(text: str) -> int | None:
    """The offset that Go's decoder would name; line breaks are allowed."""
    kept = text.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(kept, validate=True)
    except (binascii.Error, ValueError):
        wrong = re.search(r"[^A-Za-z0-9+/=]|=[^=]", kept)
        return wrong.start() if wrong else len(kept) // 4 * 4
    return None


def _mismatch(
    value: Any, go_type: str, place: _Place, expected: str, *, literal: bool = False
) -> DecodeProblem:
    message = (
        f"json: cannot unmarshal {_json_kind(value, literal=literal)} into Go struct field "
        f"{place.go_struct}.{'.'.join(place.keys)} of type {go_type}"
    )
    return _problem(message, place, expected)


def _problem(message: str, place: _Place, expected: str) -> DecodeProblem:
    return DecodeProblem(path=place.path, message=message, unknown=False, expected=expected)


def _json_kind(value: Any, *, literal: bool) -> str:
    """Go names the JSON kind; for numbers that do not fit an integer it adds the number itself."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return f"number {value}" if literal else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
