"""Validation of core/v1 Service (reference semantics 7). Whether an address is free is the allocator's question, not asked here."""

from __future__ import annotations

from typing import Any

from stockade.manifests.paths import Path
from stockade.manifests.validate import meta, names, service_traffic
from stockade.manifests.validate.access import JsonObject, child, children, items, text
from stockade.manifests.validate.container import PROTOCOLS
from stockade.manifests.validate.errors import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
    unique,
)
from stockade.net.cidr import parse_address

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_SPEC: Path = ("spec",)
_IP_FORM = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def validate(obj: JsonObject) -> list[FieldError]:
    spec = child(obj, "spec")
    kind = text(spec, "type") or "ClusterIP"
    errors = meta.metadata(obj, names.dns1035_label)
    errors += _ports(spec, kind)
    errors += meta.labels(child(spec, "selector"), (*_SPEC, "selector"))
    if kind not in TYPES:
        errors.append(not_supported((*_SPEC, "type"), kind, TYPES))
    errors += service_traffic.validate(spec, kind)
    return errors + (_external_name(spec) if kind == "ExternalName" else _cluster_ip(spec, kind))


def _is_headless(spec: JsonObject) -> bool:
    return text(spec, "clusterIP") == "None"


def _ports(spec: JsonObject, kind: str) -> list[FieldError]:
    ports = children(spec, "ports")
    errors: list[FieldError] = []
    if not ports and not _is_headless(spec) and kind != "ExternalName":
        errors.append(required((*_SPEC, "ports")))
    seen_names: set[str] = set()
    seen: set[tuple[str, Any]] = set()
    for index, port in enumerate(ports):
        path = (*_SPEC, "ports", index)
        errors += _port(port, path, kind, seen_names, name_required=len(ports) > 1)
        key = (text(port, "protocol") or "TCP", port.get("port") or 0)
        if key in seen:  # shown as the server's own type
            shown = {"Name": "", "Protocol": key[0], "AppProtocol": None}
            errors.append(duplicate(path, {**shown, "Port": key[1], "TargetPort": 0, "NodePort": 0}))
        seen.add(key)
    return errors


def _port(
    port: JsonObject, path: Path, kind: str, seen: set[str], *, name_required: bool
) -> list[FieldError]:
    errors: list[FieldError] = []
    name, number, target = text(port, "name"), port.get("port") or 0, port.get("targetPort")
    if name:
        errors += each((*path, "name"), name, names.dns_label) + unique((*path, "name"), name, seen)
    elif name_required:
        errors.append(required((*path, "name")))
    errors += [invalid((*path, "port"), number, t) for t in names.port_number(number)]
    protocol = port.get("protocol")
    if protocol is not None and protocol not in PROTOCOLS:
        errors.append(not_supported((*path, "protocol"), protocol, PROTOCOLS))
    if isinstance(target, int) and target != 0:
        errors += [invalid((*path, "targetPort"), target, t) for t in names.port_number(target)]
    elif isinstance(target, str) and target:
        errors += each((*path, "targetPort"), target, names.port_name)
    if port.get("nodePort") and kind == "ClusterIP":
        errors.append(forbidden((*path, "nodePort"), "may not be used when `type` is 'ClusterIP'"))
    return errors


def _external_name(spec: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    if text(spec, "clusterIP"):
        errors.append(forbidden((*_SPEC, "clusterIPs"), "may not be set for ExternalName services"))
    name = text(spec, "externalName").removesuffix(".")
    if not name:
        return [*errors, required((*_SPEC, "externalName"))]
    return errors + each((*_SPEC, "externalName"), name, names.dns_subdomain)


def _cluster_ip(spec: JsonObject, kind: str) -> list[FieldError]:
    path: Path = (*_SPEC, "clusterIPs", 0)
    address = text(spec, "clusterIP")
    if address == "None" and kind in {"NodePort", "LoadBalancer"}:
        return [invalid(path, "None", f"may not be set to 'None' for {kind} services")]
    listed = items(spec, "clusterIPs")
    if address and listed and listed[0] != address:
        return [invalid((*_SPEC, "clusterIPs"), listed, "first value must match `clusterIP`")]
    if not address or address == "None":
        return []
    try:
        parse_address(address)
    except ValueError:
        return [invalid(path, address, _IP_FORM)]
    return []


def validate_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """A cluster IP, once there, stays (unless the service becomes an ExternalName); the server fills in one left out."""
    errors = meta.metadata_update(new, old)
    before, after = text(child(old, "spec"), "clusterIP"), text(child(new, "spec"), "clusterIP")
    leaves = text(child(new, "spec"), "type") == "ExternalName"
    if before and after and before != after and not leaves:
        errors.append(invalid((*_SPEC, "clusterIPs", 0), [after], "may not change once set"))
    return errors
