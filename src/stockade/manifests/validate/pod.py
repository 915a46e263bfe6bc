"""Validation of core/v1 Pod and of pod templates: what a lab can run, in the server's words (reference semantics 7)."""

from __future__ import annotations

from typing import Any

from stockade.manifests.paths import Path
from stockade.manifests.validate import meta, names
from stockade.manifests.validate.access import JsonObject, child, children, text
from stockade.manifests.validate.container import containers
from stockade.manifests.validate.errors import (
    FieldError,
    at_least_zero,
    each,
    forbidden,
    not_supported,
    required,
    unique,
)

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MUTABLE = "image"
_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate(obj: JsonObject) -> list[FieldError]:
    return meta.metadata(obj, names.dns_subdomain) + spec(child(obj, "spec"), ("spec",))


def template(value: JsonObject, path: Path) -> list[FieldError]:
    """A workload's pod template: labels and spec, no name."""
    inner = child(value, "metadata")
    errors = meta.labels(child(inner, "labels"), (*path, "metadata", "labels"))
    errors += meta.annotation_pairs(child(inner, "annotations"), (*path, "metadata", "annotations"))
    return errors + spec(child(value, "spec"), (*path, "spec"))


def spec(value: JsonObject, path: Path) -> list[FieldError]:
    volumes, errors = _volumes(value, path)
    errors += containers(value, path, volumes)
    errors += _one_of(value, "restartPolicy", RESTART_POLICIES, path)
    errors += _one_of(value, "dnsPolicy", DNS_POLICIES, path)
    errors += meta.labels(child(value, "nodeSelector"), (*path, "nodeSelector"))
    for key in ("terminationGracePeriodSeconds", "activeDeadlineSeconds"):
        errors += at_least_zero((*path, key), value.get(key))
    for key, form in (
        ("serviceAccountName", names.dns_subdomain),
        ("nodeName", names.dns_subdomain),
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
    ):
        if text(value, key):
            errors += each((*path, key), text(value, key), form)
    return errors


def _volumes(value: JsonObject, path: Path) -> tuple[set[str], list[FieldError]]:
    seen: set[str] = set()
    errors: list[FieldError] = []
    for index, volume in enumerate(children(value, "volumes")):
        at = (*path, "volumes", index, "name")
        name = text(volume, "name")
        if not name:
            errors.append(required(at))
            continue
        errors += each(at, name, names.dns_label)
        errors += unique(at, name, seen)
    return seen, errors


def _one_of(value: JsonObject, key: str, allowed: tuple[str, ...], path: Path) -> list[FieldError]:
    given = text(value, key)
    return [not_supported((*path, key), given, allowed)] if given and given not in allowed else []


def validate_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """Labels and annotations may change, of the spec little more than images; the node is set by binding."""
    errors = meta.metadata_update(new, old)
    if _fixed(child(new, "spec")) != _fixed(child(old, "spec")):
        errors.append(forbidden(("spec",), _UPDATE))
    return errors


def _fixed(value: JsonObject) -> dict[str, Any]:
    """The part of a pod spec that must stay."""
    changeable = {
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
        "ephemeralContainers",
    }
    kept = {key: item for key, item in value.items() if key not in changeable}
    for key in ("containers", "initContainers"):
        kept[key] = [{k: v for k, v in c.items() if k != _MUTABLE} for c in children(value, key)]
    return kept
