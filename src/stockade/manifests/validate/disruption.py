"""Validation of PodDisruptionBudgets (ValidatePodDisruptionBudgetSpec): one of two bounds, a count or a percentage."""

from __future__ import annotations

import re
from typing import Any

from stockade.manifests.paths import Path
from stockade.manifests.validate import meta, names
from stockade.manifests.validate.access import JsonObject, child
from stockade.manifests.validate.errors import FieldError, at_least_zero, invalid, not_supported

_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def validate(obj: JsonObject) -> list[FieldError]:
    spec, path = child(obj, "spec"), ("spec",)
    errors = meta.metadata(obj, names.dns_subdomain)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        errors.append(invalid(path, spec, "minAvailable and maxUnavailable cannot be both set"))
    errors += _share((*path, "minAvailable"), least) + _share((*path, "maxUnavailable"), most)
    errors += meta.selector(child(spec, "selector"), (*path, "selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        errors.append(not_supported((*path, "unhealthyPodEvictionPolicy"), policy, _POLICIES))
    return errors


def _share(path: Path, value: Any) -> list[FieldError]:
    if not isinstance(value, str):
        return at_least_zero(path, value)
    if not re.fullmatch("[0-9]+%", value):
        return [invalid(path, value, _PERCENT)]
    return [] if int(value[:-1]) <= 100 else [invalid(path, value, "must not be greater than 100%")]
