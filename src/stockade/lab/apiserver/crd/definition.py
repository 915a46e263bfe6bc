"""A CustomResourceDefinition as a value: which kinds it makes and how their objects are checked.

In: a valid CustomResourceDefinition. Out: a ``Kind`` for each served version. Called by the store when a definition is stored, and
at start. Rules: apiextensions.k8s.io/v1.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.crd import columns, rules, values
from stockade.lab.apiserver.kinds import EXTENSIONS, Kind
from stockade.lab.apiserver.printers.columns import Printer
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.paths import dotted
from stockade.manifests.validate.errors import FieldError

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
DEFINITIONS = f"customresourcedefinitions.{EXTENSIONS}"


class CustomType(msgspec.Struct, frozen=True, eq=False):
    """``storage``: the apiVersion in which objects are stored; ``scale``: where the replica counts are, "" for none."""

    schema: JsonObject
    printer: Printer
    ruled: rules.Ruled | None
    storage: str
    list_kind: str
    scale: JsonObject | None = None
    fields: tuple[str, ...] = ()
    warning: str = ""

    def decode(self, obj: JsonObject) -> list[str]:
        """Prune ``obj`` in place; the texts for what was unknown."""
        gone = values.prune(obj, self.schema, root=True)
        return [f'unknown field "{dotted(path)}"' for path in gone]

    def fill(self, obj: JsonObject) -> None:
        values.fill(obj, self.schema)

    def validate(self, obj: JsonObject, old: JsonObject | None) -> list[FieldError]:
        """What was wrong before and has not been touched may stay (KEP-4008)."""
        found = [error for error in values.check(obj, self.schema, ()) if not _as_before(error, obj, old)]
        if found or self.ruled is None:
            return found
        return list(rules.evaluate(self.ruled, obj, rules.MISSING if old is None else old))


def _as_before(error: FieldError, obj: JsonObject, old: JsonObject | None) -> bool:
    if old is None:
        return False
    new_value, old_value = obj, old
    for step in error.path:
        try:
            new_value, old_value = new_value[step], old_value[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return new_value == old_value


def kinds_of(definition: JsonObject) -> list[Kind]:
    """The served versions, the preferred one first."""
    spec = definition["spec"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    served = [version for version in spec["versions"] if version["served"]]
    served.sort(key=lambda version: priority(version["name"]), reverse=True)
    return [_kind(spec, version, f"{spec['group']}/{storage}") for version in served]


def priority(version: str) -> tuple[int, int, int, str]:
    """v2 before v1 before v1beta1 before v1alpha1 before any other name."""
    major, _, rest = version.removeprefix("v").partition("beta")
    level = 2
    if not rest:
        major, _, rest = version.removeprefix("v").partition("alpha")
        level = 1 if rest else 3
    if not version.startswith("v") or not major.isdecimal() or (rest and not rest.isdecimal()):
        return 0, 0, 0, version
    return level, int(major), int(rest or 0), ""


def _kind(spec: JsonObject, version: JsonObject, storage: str) -> Kind:
    names, subresources = spec["names"], version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object", values.PRESERVE: True}
    warning = ""
    if version.get("deprecated"):
        own = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
        warning = version.get("deprecationWarning") or own
    custom = CustomType(
        schema=schema,
        printer=columns.printer(version.get("additionalPrinterColumns") or []),
        ruled=rules.compile_schema(schema),
        storage=storage,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        scale=subresources.get("scale"),
        fields=tuple(each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or []),
        warning=warning,
    )
    return Kind(
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        group=spec["group"],
        version=version["name"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("scale", "status") if subresources.get(name) is not None),
        generation=True,
        custom=custom,
    )
