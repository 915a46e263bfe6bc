"""Reads the text tables of fields.

A table has these lines::

    package io.k8s.api.core.v1            types that follow are named io.k8s.api.core.v1.NAME
    use meta io.k8s....meta.v1            meta.LabelSelector means that package's LabelSelector
    kind Pod v1 | DESCRIPTION             a type with apiVersion, kind and metadata
    type PodSpec | DESCRIPTION
      containers* []Container merge=name  fields, indented; several on a line are separated by ";"
      protocol string:Protocol | TEXT     a described field has its line for itself

``*`` marks a required field. ``string:Protocol`` is a string whose Go type is ``v1.Protocol`` (decoding errors name it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

import msgspec

TABLES = (
    "meta",
    "networking",
    "core_pod",
    "core_volume",
    "core_cluster",
    "apps",
    "batch",
    "apiextensions",
    "small",
)
SCALARS = frozenset(
    "string bool int32 int64 intOrString quantity time microTime bytes any".split()  # noqa: SIM905 - reads better
)
GO_SCALARS = {
    "intOrString": "intstr.IntOrString",
    "quantity": "resource.Quantity",
    "time": "v1.Time",
    "microTime": "v1.MicroTime",
    "bytes": "[]uint8",
    "any": "runtime.RawExtension",
}
META = "io.k8s.apimachinery.pkg.apis.meta.v1"


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field; see the package's docstring for ``type``, ``item`` and ``ref``.

    ``patch_strategy`` is the API's own word: "merge", "retainKeys", "merge,retainKeys" or "" (replace).
    ``go_type`` and ``item_go_type`` are what a decoding error calls the value and its items.
    """

    name: str
    type: str
    item: str = ""
    ref: str = ""
    merge_key: str = ""
    patch_strategy: str = ""
    required: bool = False
    description: str = ""
    go_type: str = ""
    item_go_type: str = ""


class TypeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An object type. ``api_version`` and ``kind`` are empty unless it is a top-level kind."""

    name: str
    fields: Mapping[str, FieldSpec]
    description: str = ""
    api_version: str = ""
    kind: str = ""

    @property
    def go_name(self) -> str:
        """The struct's name in decoding errors: ``NetworkPolicySpec``."""
        return self.name.rpartition(".")[2]


class _Reader:
    """Builds the types of one table, line by line."""

    def __init__(self) -> None:
        self.package = ""
        self.uses: dict[str, str] = {}
        self.types: dict[str, TypeSpec] = {}
        self.current: dict[str, FieldSpec] = {}

    def line(self, line: str) -> None:
        text, _, description = (part.strip() for part in line.partition("|"))
        if line.startswith(" "):
            for declaration in text.split(";"):
                field = self.field(declaration.split(), description)
                self.current[field.name] = field
            return
        match text.split():
            case ["package", name]:
                self.package = name
            case ["use", alias, name]:
                self.uses[alias] = name
            case ["kind", name, api_version]:
                self.begin(name, description, api_version)
            case ["type", name]:
                self.begin(name, description)

    def begin(self, name: str, description: str, api_version: str = "") -> None:
        self.current = {}
        if api_version:
            for declaration in ("apiVersion string", "kind string"):
                field = self.field(declaration.split(), "")
                self.current[field.name] = field
            self.current["metadata"] = FieldSpec(
                name="metadata", type="object", ref=f"{META}.ObjectMeta", go_type="v1.ObjectMeta"
            )
        full = f"{self.package}.{name}"
        self.types[full] = TypeSpec(
            name=full,
            fields=self.current,
            description=description,
            api_version=api_version,
            kind=name if api_version else "",
        )

    def field(self, words: list[str], description: str) -> FieldSpec:
        name, written, *strategy = words
        shape, _, go_name = written.partition(":")
        patch_strategy, _, merge_key = (strategy[0] if strategy else "").partition("=")
        kind, item = _shape(shape)
        element = item or kind
        ref = "" if element in SCALARS else self.resolve(element)
        element = "object" if ref else element
        go_type, item_go = _go_types(kind, element, ref, go_name)
        return FieldSpec(
            name=name.rstrip("*"),
            type=kind if item else element,
            item=element if item else "",
            ref=ref,
            merge_key=merge_key,
            patch_strategy=patch_strategy,
            required=name.endswith("*"),
            description=description,
            go_type=go_type,
            item_go_type=item_go,
        )

    def resolve(self, name: str) -> str:
        alias, dot, rest = name.partition(".")
        return f"{self.uses[alias]}.{rest}" if dot else f"{self.package}.{name}"


def _shape(written: str) -> tuple[str, str]:
    if written.startswith("[]"):
        return "list", written[2:]
    if written.startswith("map["):
        return "map", written[4:-1]
    return written, ""


def _go_types(kind: str, element: str, ref: str, go_name: str) -> tuple[str, str]:
    named = (go_name if "." in go_name else f"v1.{go_name}") if go_name else ""
    item = f"v1.{ref.rpartition('.')[2]}" if ref else GO_SCALARS.get(element, element)
    if kind == "map":  # a named map (ResourceList) has items of the plain type
        return named or f"map[string]{item}", item
    if kind == "list":
        return f"[]{named or item}", named or item
    return named or item, ""


def _lines(table: str) -> Iterator[str]:
    text = resources.files(__package__).joinpath("tables", f"{table}.txt").read_text(encoding="utf-8")
    return (line.rstrip() for line in text.splitlines() if line.strip())


@cache
def types() -> Mapping[str, TypeSpec]:
    """Every type by its OpenAPI name (``io.k8s.api.networking.v1.NetworkPolicySpec``)."""
    found: dict[str, TypeSpec] = {}
    for table in TABLES:
        reader = _Reader()
        for line in _lines(table):
            reader.line(line)
        found |= reader.types
    return found


@cache
def kinds() -> Mapping[tuple[str, str], TypeSpec]:
    """The top-level kinds by (apiVersion, kind)."""
    return {(spec.api_version, spec.kind): spec for spec in types().values() if spec.kind}


def type_of(api_version: str, kind: str) -> TypeSpec | None:
    """None when the kind is not in the tables (its fields are then not checked)."""
    return kinds().get((api_version, kind))
