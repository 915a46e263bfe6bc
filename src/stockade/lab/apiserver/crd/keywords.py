"""The types of a schema's own keywords: what decoding into JSONSchemaProps refuses before anybody reads the schema.

In: a CustomResourceDefinition. Out: the first value of a wrong type, in the words of Go's decoder, or "". Called by ``rules.decode``; everything behind it may take
the types for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stockade.lab.apiserver.registry import JsonObject

_Check = Callable[[Any], bool]


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _bool(value: Any) -> bool:
    return isinstance(value, bool)


def _int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of(each: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(each, value))


def _map_of(each: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(each, value.values()))


def _schema(value: Any) -> bool:
    return isinstance(value, dict) and not wrong_keyword(value)


def _rule(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = ("rule", "message", "messageExpression", "reason", "fieldPath")
    return all(isinstance(value.get(name) or "", str) for name in texts) and isinstance(
        value.get("optionalOldSelf") or False, bool
    )


_TYPES: tuple[tuple[str, _Check, tuple[str, ...]], ...] = (
    ("string", _string, ("$ref", "$schema", "id", "description", "type", "format", "pattern", "title")),
    ("string", _string, ("x-kubernetes-list-type", "x-kubernetes-map-type")),
    ("bool", _bool, ("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable")),
    ("bool", _bool, ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource")),
    ("bool", _bool, ("x-kubernetes-int-or-string",)),
    ("float64", _number, ("maximum", "minimum", "multipleOf")),
    ("int64", _int, ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")),
    ("[]string", _list_of(_string), ("required", "x-kubernetes-list-map-keys")),
    ("[]JSON", _list_of(lambda _: True), ("enum",)),
    ("[]JSONSchemaProps", _list_of(_schema), ("allOf", "anyOf", "oneOf")),
    ("JSONSchemaProps", _schema, ("not",)),
    ("JSONSchemaPropsOrBool", lambda value: _bool(value) or _schema(value), ("additionalProperties", "additionalItems")),
    ("JSONSchemaPropsOrArray", lambda value: _schema(value) or _list_of(_schema)(value), ("items",)),
    ("map[string]JSONSchemaProps", _map_of(_schema), ("properties", "patternProperties", "definitions")),
    ("[]ValidationRule", _list_of(_rule), ("x-kubernetes-validations",)),
)  # fmt: skip
_BY_NAME: Mapping[str, tuple[str, _Check]] = {
    name: (go, check) for go, check, names in _TYPES for name in names
}


def wrong_keyword(schema: JsonObject) -> str:
    """The first one, with its Go type; nulls are absent."""
    for name, value in schema.items():
        known = _BY_NAME.get(name)
        if known is not None and value is not None and not known[1](value):
            return f"{name} of type {known[0]}"
    return ""


def wrong_type(crd: JsonObject) -> str:
    for version in (crd.get("spec") or {}).get("versions") or []:
        schema = (version.get("schema") or {}).get("openAPIV3Schema") if isinstance(version, dict) else None
        if schema is None:
            continue
        wrong = (
            wrong_keyword(schema) if isinstance(schema, dict) else "openAPIV3Schema of type JSONSchemaProps"
        )
        if wrong:
            return f"json: cannot unmarshal value into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema.{wrong}"
    return ""
