"""OpenAPI v3: an index and one document per group and version, generated from the field tables.

What clients do with it: kubectl looks for the ``fieldValidation`` parameter of an operation (then it leaves validation to the
server and asks for Strict), ``kubectl explain`` walks the components, and apply and edit find patch strategies there.
Everything a document refers to is inside it, as upstream publishes it. ``openapi_v2`` turns the same paths and components into
the one document that older clients read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from stockade import __version__
from stockade.lab.apiserver.crd import publish
from stockade.lab.apiserver.kinds import Catalogue, Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests import schema
from stockade.manifests.schema import FieldSpec, TypeSpec

STRATEGIC_PATCH, MERGE_PATCH = "application/strategic-merge-patch+json", "application/merge-patch+json"
REF = "#/components/schemas/"
UTIL = "io.k8s.apimachinery.pkg"
META = f"{UTIL}.apis.meta.v1"
SCALARS: dict[str, JsonObject] = {
    "string": {"type": "string", "default": ""},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},  # explain --recursive stumbles over {}
}
NAMED: dict[str, tuple[str, JsonObject]] = {
    "intOrString": (f"{UTIL}.util.intstr.IntOrString", {"type": "string", "format": "int-or-string"}),
    "quantity": (
        f"{UTIL}.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}], "description": "A number with an SI suffix."},
    ),
    "time": (f"{META}.Time", {"type": "string", "format": "date-time"}),
    "microTime": (f"{META}.MicroTime", {"type": "string", "format": "date-time"}),
}
FIELD_VALIDATION = "How unknown and duplicate fields are treated: Ignore, Warn or Strict."
DRY_RUN = "All: check everything, store nothing."
FIELD_MANAGER = "Who makes the change."
FORCE = "Take fields over from other managers (apply only)."


def index(served: Catalogue) -> JsonObject:
    """With its hash in its address a document may be cached for ever."""
    paths = {}
    for group, version in served.group_versions():
        path = _path(group, version)
        address = f"/openapi/v3/{path}?hash={_hash(tuple(served.kinds_of(group, version)))}"
        paths[path] = {"serverRelativeURL": address}
    return {"paths": paths}


def document(served: Catalogue, path: str) -> bytes | None:
    """The document of ``api/v1`` or ``apis/GROUP/VERSION``; None when that is not served."""
    kinds = _kinds_at(served, path)
    return _document(kinds) if kinds else None


def tag(served: Catalogue, path: str) -> str:
    """The hash of what ``document`` answers."""
    return _hash(_kinds_at(served, path))


def _kinds_at(served: Catalogue, path: str) -> tuple[Kind, ...]:
    for group, version in served.group_versions():
        if _path(group, version) == path:
            return tuple(served.kinds_of(group, version))
    return ()


@lru_cache(maxsize=32)
def _hash(kinds: tuple[Kind, ...]) -> str:
    """Of what the document is made from, which is cheaper than to make it."""
    made_from = [(kind.kind, kind.plural, kind.custom.schema if kind.custom else None) for kind in kinds]
    return hashlib.sha256(msgspec.json.encode((__version__, made_from))).hexdigest().upper()


@lru_cache(maxsize=32)
def _document(kinds: tuple[Kind, ...]) -> bytes:
    return msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "unversioned"},
            "paths": {path: item for kind in kinds for path, item in operations(kind)},
            "components": {"schemas": components(kinds)},
        }
    )


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def operations(kind: Kind) -> Iterator[tuple[str, JsonObject]]:
    """The kind's paths, each with its path item."""
    namespace = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"/{_path(kind.group, kind.version)}{namespace}/{kind.plural}"
    where = [_parameter("namespace", "The object's namespace.", "path")] if kind.namespaced else []
    item = [_parameter("name", "The object's name.", "path"), *where]
    if kind.namespaced:  # of all namespaces; where kubectl 1.27 looks a kind up
        everywhere = f"/{_path(kind.group, kind.version)}/{kind.plural}"
        listing = _operation(kind, "list")
        named = {"operationId": f"{listing['operationId']}ForAllNamespaces"}
        yield everywhere, {"get": {**listing, **named}, "parameters": []}
    yield (
        collection,
        {
            "get": _operation(kind, "list"),
            "post": _operation(kind, "post", writes=True),
            "parameters": where,
        },
    )
    yield (
        f"{collection}/{{name}}",
        {
            "get": _operation(kind, "get"),
            "put": _operation(kind, "put", writes=True),
            "patch": _operation(
                kind, "patch", writes=True, media=MERGE_PATCH if kind.custom is not None else STRATEGIC_PATCH
            ),
            "delete": _operation(kind, "delete"),
            "parameters": item,
        },
    )


def _operation(
    kind: Kind, action: str, *, writes: bool = False, media: str = "application/json"
) -> JsonObject:
    body = {"schema": {"$ref": REF + _type_name(kind)}}
    operation: JsonObject = {
        "description": f"{action} {kind.kind}",
        "operationId": f"{action}{kind.group.title().replace('.', '')}{kind.version.title()}{kind.kind}",
        "parameters": [],
        "responses": {"200": {"description": "OK", "content": {"application/json": body}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if writes:
        names = {"dryRun": DRY_RUN, "fieldManager": FIELD_MANAGER, "fieldValidation": FIELD_VALIDATION}
        operation["parameters"] = [_parameter(name, text) for name, text in names.items()]
        operation["requestBody"] = {"content": {media: body}, "required": True}
    if action == "patch":
        force = _parameter("force", FORCE)
        operation["parameters"].append({**force, "schema": {"type": "boolean", "uniqueItems": True}})
    return operation


def _parameter(name: str, description: str, place: str = "query") -> JsonObject:
    parameter: JsonObject = {"name": name, "in": place, "description": description}
    parameter["schema"] = {"type": "string", "uniqueItems": True}
    return {**parameter, "required": True} if place == "path" else parameter


def _gvk(kind: Kind) -> JsonObject:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _type_name(kind: Kind) -> str:
    if kind.custom is not None:
        return publish.type_name(kind)
    spec = schema.type_of(kind.api_version, kind.kind)
    return spec.name if spec else f"{META}.ObjectMeta"


def components(kinds: Sequence[Kind], *, plain: bool = False) -> JsonObject:
    """The kinds' types and all that they refer to; ``plain``: of custom kinds only what version 2 can say."""
    known, waiting = schema.types(), [_type_name(kind) for kind in kinds if kind.custom is None]
    waiting.append(f"{META}.ObjectMeta")
    found: JsonObject = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _type(known[name])
            waiting += [field.ref for field in known[name].fields.values() if field.ref]
    for kind in kinds:
        if kind.custom is not None:
            found[_type_name(kind)] = publish.component(kind, plain=plain)
        found[_type_name(kind)]["x-kubernetes-group-version-kind"] = [_gvk(kind)]
    found.update(dict(NAMED.values()))
    return dict(sorted(found.items()))


def _type(spec: TypeSpec) -> JsonObject:
    described: JsonObject = {"type": "object", "description": spec.description}
    described["properties"] = {name: _field(field) for name, field in spec.fields.items()}
    required = [name for name, field in spec.fields.items() if field.required]
    return {**described, "required": required} if required else described


def _field(field: FieldSpec) -> JsonObject:
    if field.type == "list":
        described: JsonObject = {"type": "array", "items": _value(field.item, field.ref)}
    elif field.type == "map":
        described = {"type": "object", "additionalProperties": _value(field.item, field.ref)}
    else:
        described = _value(field.type, field.ref)
        if field.type == "string" and not field.required:
            described.pop("default")
    if field.description:
        described["description"] = field.description
    if field.patch_strategy:
        described["x-kubernetes-patch-strategy"] = field.patch_strategy
    if field.merge_key:
        described["x-kubernetes-patch-merge-key"] = field.merge_key
    return described


def _value(type_name: str, ref: str) -> JsonObject:
    if ref or type_name in NAMED:
        return {"allOf": [{"$ref": REF + (ref or NAMED[type_name][0])}]}
    return dict(SCALARS[type_name])
