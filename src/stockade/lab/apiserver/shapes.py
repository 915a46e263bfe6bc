"""How the fields of a kind are owned and merged: as one value, by name, by key, or as a set (structured merge, KEP-555).

In: a kind. Out: its ``Shape``, to walk along with an object. Called by ``fieldsets`` and ``apply``. For built-in kinds it comes from the field
tables and, where the API's structured-merge markers differ from the strategic ones, from the names below; for custom kinds from
``x-kubernetes-list-type`` and ``-map-type`` of their schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from stockade.lab.apiserver.crd.values import PRESERVE
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests import schema
from stockade.manifests.schema import FieldSpec, TypeSpec

ATOMIC_TYPES = (
    "LabelSelector",
    "NodeSelector",
    "ObjectReference",
    "LocalObjectReference",
    "Selector",
    "KeySelector",
)
ATOMIC_MAPS = ("nodeSelector", "selector")
BY_PROTOCOL = ("containerPort", "port")  # ports are told apart by number and protocol

Field = Callable[[str], "Shape | None"]


def _no_field(_: str) -> None:
    return None


class Shape(msgspec.Struct, frozen=True):
    """``form``: leaf (one value), map (``field`` tells about a name; None: not known, hence not owned), list (by ``keys``, ``field("")`` tells about
    an item), set (of values), free (whatever it is: objects by name, the rest as one value)."""

    form: str
    field: Field = _no_field
    keys: tuple[str, ...] = ()


LEAF = Shape("leaf")
SET = Shape("set")


def _free(_: str) -> Shape:
    return FREE


FREE = Shape("free", _free)
MAP_OF_LEAVES = Shape("map", lambda _: LEAF)


@lru_cache(maxsize=256)
def shape_of(kind: Kind) -> Shape:
    if kind.custom is not None:
        return _custom_root(kind.custom.schema)
    spec = schema.type_of(kind.api_version, kind.kind)
    return _of_type(spec) if spec is not None else FREE


@lru_cache(maxsize=1024)
def _type_named(name: str) -> Shape:
    return _of_type(schema.types()[name])


def _of_type(spec: TypeSpec) -> Shape:
    known: dict[str, Shape] = {}

    def field(name: str) -> Shape | None:
        if name not in known and name in spec.fields:
            known[name] = _of_field(spec.fields[name])
        return known.get(name)

    return Shape("map", field)


def _of_field(field: FieldSpec) -> Shape:
    inner = field.ref and not field.ref.rpartition(".")[2].endswith(ATOMIC_TYPES)
    if field.type == "object" and inner:
        return _type_named(field.ref)
    if field.type == "map" and not field.ref and field.name not in ATOMIC_MAPS:
        return MAP_OF_LEAVES
    if field.type == "list" and field.merge_key:
        element = _type_named(field.ref) if inner else LEAF
        keys = (field.merge_key, *(("protocol",) if field.merge_key in BY_PROTOCOL else ()))
        return Shape("list", lambda _: element, keys)
    if field.type == "list" and "merge" in field.patch_strategy.split(","):
        return SET
    return LEAF


def _custom_root(given: JsonObject) -> Shape:
    metadata, own = _type_named(f"{schema.META}.ObjectMeta"), _of_schema(given)
    return Shape("map", lambda name: metadata if name == "metadata" else own.field(name))


def _of_schema(given: JsonObject) -> Shape:
    sort = given.get("x-kubernetes-list-type")
    items = given.get("items")
    if sort == "map" and isinstance(items, dict):
        element = _of_schema(items)
        return Shape("list", lambda _: element, tuple(sorted(given["x-kubernetes-list-map-keys"])))
    if sort == "set":
        return SET
    if given.get("x-kubernetes-map-type") == "atomic":
        return LEAF
    properties, more = given.get("properties") or {}, given.get("additionalProperties")
    shapes = {name: _of_schema(inner) for name, inner in properties.items()}
    if isinstance(more, dict):
        others = _of_schema(more)
        return Shape("map", lambda name: shapes.get(name, others))
    if given.get(PRESERVE):
        return FREE if not shapes else Shape("map", lambda name: shapes.get(name, FREE))
    return Shape("map", shapes.get) if shapes else LEAF
