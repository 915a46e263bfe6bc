"""A custom kind in the OpenAPI documents: what ``kubectl explain`` shows, and old clients validate with.

In: a custom kind. Out: its component, for version 3 as the schema is, for version 2 as far as that can say it. Called by ``openapi``.
Rules: apiextensions' builder: apiVersion, kind and metadata are added; version 2 has no junctors, no nullable, and says nothing about an
object that may hold anything.
"""

from __future__ import annotations

from typing import Any

from stockade.lab.apiserver.crd.values import EMBEDDED, INT_OR_STRING, PRESERVE
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.schema import META

API_VERSION = "The version of the API that this object is written in."
KIND = "The kind of this object."
IN_V2 = ("type", "format", "description", "required")


def type_name(kind: Kind) -> str:
    """``io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicy``: the group backwards."""
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def component(kind: Kind, *, plain: bool) -> JsonObject:
    """``plain``: for version 2."""
    assert kind.custom is not None
    schema = _plain(kind.custom.schema) if plain else {**kind.custom.schema}
    own = {
        "apiVersion": {"type": "string", "description": API_VERSION},
        "kind": {"type": "string", "description": KIND},
        "metadata": {"allOf": [{"$ref": f"#/components/schemas/{META}.ObjectMeta"}]},
    }
    if schema.get("properties") is not None or not schema.get(PRESERVE):
        schema["properties"] = {**(schema.get("properties") or {}), **own}
    schema["x-kubernetes-group-version-kind"] = [
        {"group": kind.group, "version": kind.version, "kind": kind.kind}
    ]
    return schema


def _plain(schema: JsonObject) -> JsonObject:
    found: dict[str, Any] = {key: schema[key] for key in IN_V2 if schema.get(key)}
    if schema.get(INT_OR_STRING) or schema.get("nullable"):
        found.pop("type", None)
        return {key: value for key, value in found.items() if key == "description"}
    if schema.get(PRESERVE) or schema.get(EMBEDDED):
        found.pop("required", None)
        return found
    if schema.get("properties"):
        found["properties"] = {name: _plain(inner) for name, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = _plain(schema[key])
    return found
