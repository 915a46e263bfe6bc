"""Validation of what a core/v1 Service says about whose packets go where: affinity, traffic policies, addresses and senders outside.

Called by ``service``. Texts are the API server's.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from stockade.manifests.paths import Path
from stockade.manifests.validate.access import JsonObject, child, items, text
from stockade.manifests.validate.errors import FieldError, forbidden, invalid, not_supported

_SPEC: Path = ("spec",)
_POLICIES: Final = ("Cluster", "Local")
_LONGEST: Final = 86400
_IP_FORM: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR_FORM: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def validate(spec: JsonObject, kind: str) -> list[FieldError]:
    return _affinity(spec) + _external_ips(spec) + _policies(spec, kind) + _source_ranges(spec, kind)


def _affinity(spec: JsonObject) -> list[FieldError]:
    value = text(spec, "sessionAffinity")
    if value not in {"", "None", "ClientIP"}:
        return [not_supported((*_SPEC, "sessionAffinity"), value, ("ClientIP", "None"))]
    path = (*_SPEC, "sessionAffinityConfig")
    if value != "ClientIP":
        told = "must not be set when session affinity is None"
        return [forbidden(path, told)] if spec.get("sessionAffinityConfig") else []
    seconds = child(child(spec, "sessionAffinityConfig"), "clientIP").get("timeoutSeconds")
    if isinstance(seconds, int) and not 0 < seconds <= _LONGEST:
        told = f"must be greater than 0 and less than {_LONGEST}"
        return [invalid((*path, "clientIP", "timeoutSeconds"), seconds, told)]
    return []


def _external_ips(spec: JsonObject) -> list[FieldError]:
    errors = []
    for index, address in enumerate(items(spec, "externalIPs")):
        told = _not_external(str(address))
        if told:
            errors.append(invalid((*_SPEC, "externalIPs", index), address, told))
    return errors


def _not_external(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return _IP_FORM
    if parsed.is_unspecified:
        return f"may not be unspecified ({address})"
    if parsed.is_loopback:
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if parsed.is_link_local:
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    if parsed in ipaddress.ip_network("224.0.0.0/24" if parsed.version == 4 else "ff02::/16"):
        return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return ""


def _policies(spec: JsonObject, kind: str) -> list[FieldError]:
    errors = []
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        value = text(spec, field)
        if value and value not in _POLICIES:
            errors.append(not_supported((*_SPEC, field), value, _POLICIES))
    outer = text(spec, "externalTrafficPolicy")
    reachable = kind in {"NodePort", "LoadBalancer"} or (kind == "ClusterIP" and items(spec, "externalIPs"))
    if outer and not reachable:
        told = "may only be set for externally-accessible services"
        errors.append(invalid((*_SPEC, "externalTrafficPolicy"), outer, told))
    checked = kind == "LoadBalancer" and outer == "Local"
    if spec.get("healthCheckNodePort") and not checked:
        told = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid((*_SPEC, "healthCheckNodePort"), spec["healthCheckNodePort"], told))
    return errors


def _source_ranges(spec: JsonObject, kind: str) -> list[FieldError]:
    path = (*_SPEC, "LoadBalancerSourceRanges")  # sic
    ranges = items(spec, "loadBalancerSourceRanges")
    errors = []
    if ranges and kind != "LoadBalancer":
        errors.append(forbidden(path, "may only be used when `type` is 'LoadBalancer'"))
    for index, value in enumerate(ranges):
        if not _is_cidr(str(value).strip()):
            errors.append(invalid((*path, index), value, _CIDR_FORM))
    return errors


def _is_cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "/" in value
