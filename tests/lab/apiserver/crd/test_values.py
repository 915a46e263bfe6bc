"""Values against schemas: what is pruned, what is filled in, what is wrong."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.crd.structure import structural_errors
from stockade.lab.apiserver.crd.values import check, fill, prune


def text(**more):
    return {"type": "string", **more}


def obj(required=(), **fields):
    return {"type": "object", "properties": fields, "required": list(required)}


PORT = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": "^.*",
}
"""As Calico's policies have it."""


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (text(), 1, 'x in body must be of type string: "integer"'),
        (text(), None, 'x in body must be of type string: "null"'),
        (text(nullable=True), None, ""),
        ({"type": "integer"}, 2.0, ""),
        ({"type": "integer"}, 2.5, 'must be of type integer: "number"'),
        ({"type": "integer"}, True, 'must be of type integer: "boolean"'),
        ({"type": "integer", "format": "int32"}, 2**31, "must be of type int32"),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, "should be greater than 1"),
        ({"type": "integer", "multipleOf": 5}, 7, "should be a multiple of 5"),
        ({"x-kubernetes-int-or-string": True}, "http", ""),
        ({"x-kubernetes-int-or-string": True}, [], "must be of type integer,string"),
        (text(maxLength=2), "abc", "Too long: may not be more than 2 bytes"),
        (text(minLength=2), "a", "should be at least 2 chars long"),
        (text(pattern="^a+$"), "ab", "should match '^a+$'"),
        (text(pattern=r"^\PC*$"), "a\tb", r"should match '^\PC*$'"),
        (PORT, 80, ""),
        (PORT, "http", ""),
        (PORT, 1.5, 'must be of type integer,string: "number"'),
        (text(format="ipv4"), "1.2.3", 'must be of type ipv4: "1.2.3"'),
        (text(format="cidr"), "10.0.0.0/8", ""),
        (text(format="date-time"), "2026-01-01", "must be of type date-time"),
        (text(format="nonsense"), "anything", ""),
        (text(enum=["a", "b"]), "c", 'Unsupported value: "c": supported values: "a", "b"'),
        (obj(["a"], a=text()), {}, "x.a: Required value"),
        (obj(a=obj(b=text())), {"a": {"b": 1}}, 'x.a.b in body must be of type string: "integer"'),
        (
            {"type": "array", "items": text(), "maxItems": 1},
            ["a", "b"],
            "Too many: 2: must have at most 1 items",
        ),
        (
            {
                "type": "array",
                "items": obj(n=text(), v=text()),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
            },
            [{"n": "a", "v": "1"}, {"n": "a", "v": "2"}],
            'x[1]: Duplicate value: {"n":"a"}',
        ),
        ({**obj(a=text(), b=text()), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": ""}, ""),
        (
            {**obj(a=text(), b=text()), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": "", "b": ""},
            "must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        ({**obj(a=text()), "anyOf": [{"required": ["a"]}]}, {}, "at least one schema (anyOf)"),
        ({**obj(a=text()), "not": {"required": ["a"]}}, {"a": ""}, "must not validate the schema (not)"),
        (
            {**obj(a=text()), "allOf": [{"properties": {"a": {"minLength": 1}}}]},
            {"a": ""},
            "at least 1 chars",
        ),
        ({"type": "object", "additionalProperties": text(maxLength=1)}, {"k": "ab"}, "x.k: Too long"),
    ],
)
def test_what_is_wrong(schema, value, expected):
    found = [error.message for error in check(value, schema, ("x",))]
    assert (len(found) == 1 and expected in found[0]) if expected else not found, found


def test_pruning():
    schema = obj(
        a=obj(b=text()),
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        many={"type": "array", "items": obj(c=text())},
        named={"type": "object", "additionalProperties": obj(d=text())},
        other={**obj(e=text()), "x-kubernetes-embedded-resource": True},
    )
    value = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"anything": 1},
        "a": {"b": "", "x": 1},
        "free": {"x": {"y": 1}},
        "many": [{"c": ""}, {"x": 1}],
        "named": {"k": {"d": "", "x": 1}},
        "other": {"apiVersion": "v1", "kind": "Y", "metadata": {"q": 1}, "e": "", "x": 1},
        "x": 1,
    }
    gone = prune(value, schema, root=True)
    assert sorted(gone, key=str) == sorted(
        [("a", "x"), ("many", 1, "x"), ("named", "k", "x"), ("other", "x"), ("x",)], key=str
    )
    assert value["metadata"] == {"anything": 1}
    assert value["free"] == {"x": {"y": 1}}
    assert value["many"] == [{"c": ""}, {}]


def test_filling_in():
    inner = {**obj(a=text(default="x"), b=text(default="y", nullable=True)), "default": {}}
    schema = obj(one=inner, two=obj(c=text(default="z")), many={"type": "array", "items": inner})
    value = {"one": {"a": None, "b": None}, "many": [{}, {"a": "own"}]}
    fill(value, schema)
    assert value == {"one": {"a": "x", "b": None}, "many": [{"a": "x", "b": "y"}, {"a": "own", "b": "y"}]}
    empty = {}
    fill(empty, schema)
    assert empty == {"one": {"a": "x", "b": "y"}}
    empty["one"]["a"] = "changed"
    again = {}
    fill(again, schema)
    assert again["one"]["a"] == "x", "a default is copied"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"$ref": "#/x"}, "$ref is not supported"),
        ({"uniqueItems": True}, "uniqueItems cannot be set to true"),
        ({"pattern": "("}, "must be a valid regular expression"),
        ({"type": "thing"}, 'Unsupported value: "thing"'),
        ({"type": "array", "items": {}}, "must not be empty for specified array items"),
        (
            {"type": "array", "items": text(), "x-kubernetes-list-type": "map"},
            "must not be empty if x-kubernetes",
        ),
        (
            {"type": "object", "properties": {"a": text()}, "additionalProperties": text()},
            "additionalProperties and properties are mutual exclusive",
        ),
        ({"x-kubernetes-int-or-string": True}, "must be empty if x-kubernetes-int-or-string is true"),
        ({"type": "object", "anyOf": [{"type": "object"}]}, "must be empty to be structural"),
        ({"type": "object", "anyOf": [{"properties": {"b": {}}}]}, "because it is defined in"),
        ({"default": 1}, 'must be of type string: "integer"'),
        (
            {"type": "object", "properties": {"a": text()}, "default": {"b": 1}},
            "must be pruned",
        ),
    ],
)
def test_schemas_that_are_not_structural(part, expected):
    schema = obj(spec={"type": "string", **part})
    found = [error.message for error in structural_errors(schema, ("schema",))]
    assert any(expected in message for message in found), found


def test_a_schema_that_is_structural():
    schema = obj(
        metadata={"type": "object", "properties": {"name": text(maxLength=10)}},
        spec={
            "type": "object",
            "properties": {"a": text()},
            "anyOf": [{"properties": {"a": {"minLength": 1}}}],
        },
        port={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    )
    assert list(structural_errors(schema, ("schema",))) == []
