"""Validation of networking.k8s.io/v1 NetworkPolicy: rules V3-V19 of the reference, in the server's order and words."""

from __future__ import annotations

from stockade.manifests.paths import Path
from stockade.manifests.validate import cidr, meta, names
from stockade.manifests.validate.access import JsonObject, child, children, items, text
from stockade.manifests.validate.errors import FieldError, each, forbidden, invalid, not_supported, required

PROTOCOLS = ("TCP", "UDP", "SCTP")
DIRECTIONS = ("Ingress", "Egress")
_SPEC: Path = ("spec",)
_RULES = (("ingress", "from"), ("egress", "to"))


def validate(obj: JsonObject, *, strict_cidr: bool = False) -> list[FieldError]:
    spec = child(obj, "spec")
    errors = meta.metadata(obj, names.dns_subdomain)
    errors += meta.selector(child(spec, "podSelector"), (*_SPEC, "podSelector"))
    for direction, peers in _RULES:
        for index, rule in enumerate(children(spec, direction)):
            errors += _rule(rule, peers, (*_SPEC, direction, index), strict=strict_cidr)
    return errors + _policy_types(items(spec, "policyTypes"))


def validate_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """The whole spec may change."""
    return meta.metadata_update(new, old)


def warnings(obj: JsonObject) -> list[str]:
    """Texts of the ``Warning`` headers: CIDRs that readers may take differently."""
    spec = child(obj, "spec")
    found: list[str] = []
    for direction, peers in _RULES:
        for index, rule in enumerate(children(spec, direction)):
            for at, peer in enumerate(children(rule, peers)):
                found += _block_warnings(
                    child(peer, "ipBlock"), (*_SPEC, direction, index, peers, at, "ipBlock")
                )
    return found


def _block_warnings(block: JsonObject, path: Path) -> list[str]:
    found = cidr.cidr_warnings((*path, "cidr"), text(block, "cidr"))
    for index, value in enumerate(items(block, "except")):
        found += cidr.cidr_warnings((*path, "except", index), value or "")
    return found


def _rule(rule: JsonObject, peers: str, path: Path, *, strict: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, port in enumerate(children(rule, "ports")):
        errors += _port(port, (*path, "ports", index))
    for index, peer in enumerate(children(rule, peers)):
        errors += _peer(peer, (*path, peers, index), strict=strict)
    return errors


def _port(port: JsonObject, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        errors.append(not_supported((*path, "protocol"), protocol, PROTOCOLS))
    end_path = (*path, "endPort")
    if number is None:
        if end is not None:
            errors.append(invalid(end_path, end, "may not be specified when `port` is not specified"))
    elif isinstance(number, int):
        errors += [invalid((*path, "port"), number, detail) for detail in names.port_number(number)]
        if end is not None:
            errors += _end_port(number, end, end_path)
    else:
        if end is not None:
            errors.append(invalid(end_path, end, "may not be specified when `port` is non-numeric"))
        errors += each((*path, "port"), number, names.port_name)
    return errors


def _end_port(number: int, end: int, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if end < number:  # the server shows the value of ``port`` here
        errors.append(invalid(path, number, "must be greater than or equal to `port`"))
    return errors + [invalid(path, end, detail) for detail in names.port_number(end)]


def _peer(peer: JsonObject, path: Path, *, strict: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in given:
        if key == "ipBlock":
            errors += _block(child(peer, key), (*path, key), strict=strict)
        else:
            errors += meta.selector(child(peer, key), (*path, key))
    if not given:
        errors.append(required(path, "must specify a peer"))
    elif "ipBlock" in given and len(given) > 1:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _block(block: JsonObject, path: Path, *, strict: bool) -> list[FieldError]:
    written = text(block, "cidr")
    if not written:
        return [required((*path, "cidr"))]
    errors = cidr.cidr((*path, "cidr"), written, strict=strict)
    outer = cidr.parse(written)
    if outer is None:
        return errors
    for index, value in enumerate(items(block, "except")):
        at = (*path, "except", index)
        errors += cidr.cidr(at, value or "", strict=strict)
        inner = cidr.parse(value or "")
        if inner is not None and not _is_strictly_inside(inner, outer):
            errors.append(invalid(at, value, "must be a strict subset of `cidr`"))
    return errors


def _is_strictly_inside(inner: cidr.Interface, outer: cidr.Interface) -> bool:
    longer = inner.network.prefixlen > outer.network.prefixlen
    return inner.version == outer.version and longer and inner.network.network_address in outer.network


def _policy_types(types: list[str]) -> list[FieldError]:
    path: Path = (*_SPEC, "policyTypes")
    if len(types) > len(DIRECTIONS):
        return [invalid(path, types, "may not specify more than two policyTypes")]
    return [
        not_supported((*path, index), value, DIRECTIONS)
        for index, value in enumerate(types)
        if value not in DIRECTIONS
    ]
