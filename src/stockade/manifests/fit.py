"""The quick yes: an object that surely has no unknown field, no mistyped value and no null.

In: an object as decoded JSON. Out: True when ``strict.check_fields`` would find nothing and ``strict.drop_nulls`` would change
nothing; False when they have to look. Called by ``manifests.load`` for the thousands of objects of a dump that are in order.
"""

from __future__ import annotations

import re
from typing import Any

from stockade.manifests import schema
from stockade.manifests.schema import FieldSpec, TypeSpec

_LIMITS = {"int32": 2**31, "int64": 2**63}
_FORMS = {  # as the server writes them
    "time": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
    "quantity": re.compile(r"[0-9]+(m|[KMGT]i)?"),
}


def fits(obj: dict[str, Any], api_version: str, kind: str) -> bool:
    spec = schema.type_of(api_version, kind)
    return spec is not None and _object(obj, spec)


def _object(value: Any, spec: TypeSpec) -> bool:
    if type(value) is not dict:
        return False
    fields = spec.fields
    for key, item in value.items():
        field = fields.get(key)
        if field is None or not _field(item, field):
            return False
    return True


def _field(value: Any, field: FieldSpec) -> bool:
    wanted = field.type
    if wanted == "string":
        return type(value) is str
    if wanted == "object":
        return _object(value, schema.types()[field.ref])
    if wanted == "list":
        return type(value) is list and _items(value, field)
    if wanted == "map":
        return type(value) is dict and _items(list(value.values()), field)
    return _scalar(value, wanted)


def _items(values: list[Any], field: FieldSpec) -> bool:
    if field.ref:
        spec = schema.types()[field.ref]
        return all(_object(value, spec) for value in values)
    return all(_scalar(value, field.item) for value in values)


def _scalar(value: Any, wanted: str) -> bool:
    if wanted == "string":
        return type(value) is str
    if wanted == "bool":
        return type(value) is bool
    if wanted == "intOrString":
        return type(value) is str or (type(value) is int and -(2**31) <= value < 2**31)
    limit = _LIMITS.get(wanted)
    if limit is not None:
        return type(value) is int and -limit <= value < limit
    form = _FORMS.get(wanted)
    return form is not None and type(value) is str and form.fullmatch(value) is not None
