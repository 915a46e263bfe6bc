"""CustomResourceDefinitions themselves: defaults, validation, and the conditions that say whether they are served.

In: a definition whose field types are right. Out: the definition edited in place, FieldErrors. Called by ``rules`` and the store. Rules:
apiextensions.k8s.io/v1 validation; only conversion strategy None is known here, a webhook is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.lab.apiserver.crd import columns
from stockade.lab.apiserver.crd.structure import structural_errors
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.paths import Path
from stockade.manifests.validate import names as forms
from stockade.manifests.validate.errors import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
)

APPROVAL = "api-approved.kubernetes.io"
PROTECTED = (".k8s.io", ".kubernetes.io")
NO_WEBHOOK = "this API server converts between versions by changing apiVersion alone"
_SPEC: Path = ("spec",)


def fill(definition: JsonObject) -> None:
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names["singular"] = names.get("singular") or names["kind"].lower()
        names["listKind"] = names.get("listKind") or f"{names['kind']}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}
    for version in spec.get("versions") or []:
        for field, zero in (("name", ""), ("served", False), ("storage", False)):
            version.setdefault(field, zero)  # as their decoded type has them


def errors(definition: JsonObject, old: JsonObject | None = None) -> list[FieldError]:
    spec = definition.get("spec") or {}
    found = [*_identity(definition, spec), *_names(spec), *_versions(spec)]
    if old is not None:
        found += _fixed(spec, old["spec"])
    return found


def _identity(definition: JsonObject, spec: JsonObject) -> Iterator[FieldError]:
    group, names = spec.get("group") or "", spec.get("names") or {}
    wanted = f"{names.get('plural', '')}.{group}"
    name = definition["metadata"].get("name", "")
    if name != wanted:
        yield invalid(("metadata", "name"), name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield required((*_SPEC, "group"))
    else:
        yield from each((*_SPEC, "group"), group, forms.dns_subdomain)
        if "." not in group:
            yield invalid((*_SPEC, "group"), group, "should be a domain with at least one dot")
    approval = (definition["metadata"].get("annotations") or {}).get(APPROVAL, "")
    if group.endswith(PROTECTED) and not approval.startswith(("http://", "https://", "unapproved")):
        yield required(
            ("metadata", "annotations", APPROVAL),
            f'protected groups must have approval annotation "{APPROVAL}", see https://github.com/kubernetes/enhancements/pull/1111',
        )
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield not_supported((*_SPEC, "scope"), spec.get("scope") or "", ("Cluster", "Namespaced"))
    strategy = (spec.get("conversion") or {}).get("strategy")
    if strategy not in ("None", "Webhook"):
        yield not_supported((*_SPEC, "conversion", "strategy"), strategy, ("None", "Webhook"))
    elif strategy == "Webhook" and len(spec.get("versions") or []) > 1:
        yield forbidden((*_SPEC, "conversion", "strategy"), NO_WEBHOOK)
    if spec.get("preserveUnknownFields"):
        yield invalid(
            (*_SPEC, "preserveUnknownFields"),
            True,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        )


def _names(spec: JsonObject) -> Iterator[FieldError]:
    names = spec.get("names") or {}
    for field in ("plural", "singular", "kind", "listKind"):
        value, where = names.get(field) or "", (*_SPEC, "names", field)
        if not value:
            yield required(where)
        else:
            yield from each(where, value.lower(), forms.dns1035_label)
    for field in ("shortNames", "categories"):
        for at, value in enumerate(names.get(field) or []):
            yield from each((*_SPEC, "names", field, at), value, forms.dns1035_label)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid(
            (*_SPEC, "names", "listKind"), names["listKind"], "kind and listKind may not be the same"
        )


def _versions(spec: JsonObject) -> Iterator[FieldError]:
    versions, seen = spec.get("versions") or [], set[str]()
    if not versions:
        yield required((*_SPEC, "versions"), "must have at least one version")
        return
    for at, version in enumerate(versions):
        where = (*_SPEC, "versions", at)
        if version["name"] in seen:
            yield duplicate((*where, "name"), version["name"])
        seen.add(version["name"])
        yield from each((*where, "name"), version["name"], forms.dns1035_label)
        yield from _version(version, where)
    if sum(bool(version["storage"]) for version in versions) != 1:
        yield invalid(
            (*_SPEC, "versions"),
            [v["name"] for v in versions],
            "must have exactly one version marked as storage version",
        )
    if not any(version["served"] for version in versions):
        yield invalid(
            (*_SPEC, "versions"), [v["name"] for v in versions], "must have at least one served version"
        )


def _version(version: JsonObject, where: Path) -> Iterator[FieldError]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        yield required((*where, "schema", "openAPIV3Schema"), "schemas are required")
    else:
        yield from structural_errors(schema, (*where, "schema", "openAPIV3Schema"))
    for at, column in enumerate(version.get("additionalPrinterColumns") or []):
        here = (*where, "additionalPrinterColumns", at)
        if column.get("type") not in columns.TYPES:
            yield not_supported((*here, "type"), column.get("type"), columns.TYPES)
        try:
            columns.parse(column.get("jsonPath") or "")
        except ValueError as error:
            yield invalid((*here, "jsonPath"), column.get("jsonPath"), str(error))
    scale = (version.get("subresources") or {}).get("scale") or {}
    if scale and not str(scale.get("specReplicasPath", "")).startswith(".spec."):
        yield invalid(
            (*where, "subresources", "scale", "specReplicasPath"),
            scale.get("specReplicasPath"),
            "should be a json path under .spec",
        )


def _fixed(spec: JsonObject, old: JsonObject) -> Iterator[FieldError]:
    for path in (("group",), ("scope",), ("names", "plural"), ("names", "kind")):
        new_value, old_value = spec, old
        for step in path:
            new_value, old_value = new_value.get(step) or {}, old_value.get(step) or {}
        if new_value != old_value:
            yield invalid((*_SPEC, *path), new_value, "field is immutable")


def establish(definition: JsonObject, served: Iterable[Kind], now: str) -> bool:
    """Write the status; True when the names are free and the kind is to be served."""
    spec = definition["spec"]
    names = spec["names"]
    status = definition["status"] = definition.get("status") or {}
    taken = _conflict(spec, served)
    stored = next(version["name"] for version in spec["versions"] if version["storage"])
    status["storedVersions"] = [*dict.fromkeys([*(status.get("storedVersions") or []), stored])]
    if taken:
        _condition(status, "NamesAccepted", "False", *taken, now)
        _condition(status, "Established", "False", "NotAccepted", "not all names are accepted", now)
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
        return False
    status["acceptedNames"] = dict(names)
    _condition(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    _condition(
        status, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now
    )
    return True


def _conflict(spec: JsonObject, served: Iterable[Kind]) -> tuple[str, str] | None:
    names = spec["names"]
    own = f"{names['plural']}.{spec['group']}"
    for kind in served:
        if kind.group != spec["group"] or kind.resource == own:
            continue
        if kind.kind in (names["kind"], names["listKind"]):
            return "KindConflict", f'"{kind.kind}" is already in use'
        asked = {names["plural"], names["singular"], *(names.get("shortNames") or ())}
        both = asked & {kind.plural, kind.singular, *kind.short_names}
        if both:
            return "PluralConflict", f'"{min(both)}" is already in use'
    return None


def _condition(status: JsonObject, sort: str, value: str, reason: str, message: str, now: str) -> None:
    conditions = status.setdefault("conditions", [])
    new = {"type": sort, "status": value, "reason": reason, "message": message, "lastTransitionTime": now}
    for at, old in enumerate(conditions):
        if old.get("type") == sort:
            same = old.get("status") == value
            conditions[at] = {**new, "lastTransitionTime": old["lastTransitionTime"] if same else now}
            return
    conditions.append(new)
