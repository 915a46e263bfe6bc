"""OpenAPI v2: the one document that clients before 1.27 read, made from the paths and components of the v3 documents.

What such a client does with it: it validates manifests itself (an unknown field is refused before anything is sent), ``explain``
walks the definitions, ``diff`` and ``--dry-run=server`` look for the ``dryRun`` parameter of a kind's PATCH, and apply finds patch
strategies. It asks for protobuf; without that media type the answer is JSON, as a real server gives it.
The document is made when it is first asked for, and kept.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from stockade.lab.apiserver import openapi, openapi_v2_wire
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

JSON = "application/json"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Clients ask for ``…spec.v2@v1.0+protobuf``; "@" is not allowed in a media type and old clients cannot parse it in an answer."""

DEFINITIONS = "#/definitions/"
METHODS = frozenset({"get", "put", "post", "patch", "delete"})


def wanted_form(accept: str) -> str:
    """The media type of the answer to a request with this Accept header."""
    return PROTOBUF if "proto-openapi.spec.v2" in accept else JSON


@lru_cache(maxsize=4)
def document(form: str, kinds: tuple[Kind, ...]) -> tuple[bytes, str]:
    """The document as ``PROTOBUF`` or ``JSON``, and its entity tag."""
    described = describe(kinds)
    body = openapi_v2_wire.encode(described) if form == PROTOBUF else msgspec.json.encode(described)
    return body, hashlib.sha256(body).hexdigest()[:32]


def describe(kinds: tuple[Kind, ...]) -> JsonObject:
    """The document in its JSON form."""
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {path: _path_item(item) for kind in kinds for path, item in openapi.operations(kind)},
        "definitions": {name: _schema(spec) for name, spec in openapi.components(kinds, plain=True).items()},
    }


def _path_item(item: JsonObject) -> JsonObject:
    return {
        key: _operation(value) if key in METHODS else [_parameter(parameter) for parameter in value]
        for key, value in item.items()
    }


def _operation(operation: JsonObject) -> JsonObject:
    """v2 has the body among the parameters, and its media types beside them."""
    described = {key: value for key, value in operation.items() if key != "requestBody"}
    described["parameters"] = [_parameter(parameter) for parameter in operation["parameters"]]
    described["produces"] = [JSON]
    described["responses"] = {
        code: {"description": response["description"], "schema": _schema(response["content"][JSON]["schema"])}
        for code, response in operation["responses"].items()
    }
    if "requestBody" in operation:
        [(media, body)] = operation["requestBody"]["content"].items()
        described["consumes"] = [media]
        described["parameters"].append(
            {"name": "body", "in": "body", "required": True, "schema": _schema(body["schema"])}
        )
    return described


def _parameter(parameter: JsonObject) -> JsonObject:
    """v2 has the type of a path or query parameter in the parameter itself."""
    described = {key: value for key, value in parameter.items() if key != "schema"}
    return {**described, **parameter["schema"]}


def _schema(schema: JsonObject) -> JsonObject:
    """A v3 schema as v2 has it: a reference stands alone (with its description), and there is no choice of types.

    A client takes a number for a string, so a quantity is a string here, as upstream publishes it.
    """
    described: JsonObject = {}
    for key, value in schema.items():
        match key:
            case "allOf":
                described |= _schema(value[0])
            case "$ref":
                described["$ref"] = DEFINITIONS + value.removeprefix(openapi.REF)
            case "oneOf":
                described["type"] = "string"
            case "properties":
                described["properties"] = {name: _schema(field) for name, field in value.items()}
            case "items" | "additionalProperties":
                described[key] = _schema(value)
            case "default":
                pass
            case _:
                described[key] = value
    return described
