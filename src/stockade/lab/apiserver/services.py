"""Cluster addresses and node ports of Services (kube-apiserver's Service REST storage and its allocators).

Called by admission, after validation. What is in use is read from the stored Services each time: a lab has few.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from stockade.lab.addresses import SERVICE_CIDR, SERVICE_CIDR_6
from stockade.lab.apiserver import families
from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.registry import JsonObject

CIDRS = {"IPv4": ip_network(SERVICE_CIDR), "IPv6": ip_network(SERVICE_CIDR_6)}
NODE_PORTS = range(30000, 32768)
STATIC_BAND = 256  # the low addresses are left to explicit requests (KEP-3070)
HEADLESS = "None"
EXTERNAL_NAME = "ExternalName"
ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def keep_allocated(service: JsonObject, old: JsonObject) -> None:
    """Before an update is validated: what the client left out stays as allocated (``patchAllocatedValues``)."""
    spec, before = service.setdefault("spec", {}), old.get("spec") or {}
    _drop_what_went_with_the_type(spec, before)
    if spec.get("type", "ClusterIP") != EXTERNAL_NAME:
        _align(spec)
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = list(before.get("clusterIPs") or [])
    ports = {_port_key(port): port.get("nodePort") for port in before.get("ports") or []}
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        for port in spec.get("ports") or []:
            if not port.get("nodePort") and ports.get(_port_key(port)):
                port["nodePort"] = ports[_port_key(port)]


def _drop_what_went_with_the_type(spec: JsonObject, before: JsonObject) -> None:
    """A client that changes the type alone means the fields of the old type, too (``dropTypeDependentFields``)."""
    if _is_external(before) and not _is_external(spec):
        ports = {_port_key(port): port.get("nodePort") for port in before.get("ports") or []}
        for port in spec.get("ports") or []:
            if port.get("nodePort") == ports.get(_port_key(port)):
                port.pop("nodePort", None)
        if not spec.get("externalIPs"):
            _drop(spec, before, "externalTrafficPolicy")
    if _is_balanced(before) and not _is_balanced(spec):
        _drop(spec, before, "allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges")
    if _is_checked(before) and not _is_checked(spec):
        _drop(spec, before, "healthCheckNodePort")
    elif _is_checked(spec) and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _drop(spec: JsonObject, before: JsonObject, *fields: str) -> None:
    for field in fields:
        if spec.get(field) == before.get(field):
            spec.pop(field, None)


def _is_external(spec: JsonObject) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _is_balanced(spec: JsonObject) -> bool:
    return spec.get("type") == "LoadBalancer"


def _is_checked(spec: JsonObject) -> bool:
    return _is_balanced(spec) and spec.get("externalTrafficPolicy") == "Local"


def _align(spec: JsonObject) -> None:
    """``clusterIP`` is the first of ``clusterIPs``, whichever of the two a client wrote."""
    if not spec.get("clusterIP") and spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    elif spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def allocate(
    service: JsonObject, old: JsonObject | None, others: Iterable[JsonObject], cluster: Sequence[str]
) -> list[Cause]:
    """Fill addresses and node ports of ``service``; answers what is wrong with those that were asked for. ``cluster`` are the
    address families it has, the default one first."""
    spec = service.setdefault("spec", {})
    if spec.setdefault("type", "ClusterIP") == EXTERNAL_NAME:
        for field in ADDRESS_FIELDS:
            spec.pop(field, None)
        return []
    specs = [other.get("spec") or {} for other in others]
    before = (old or {}).get("spec") or {}
    _align(spec)
    causes = families.settle(spec, before if before.get("type") != EXTERNAL_NAME else {}, cluster)
    if causes:
        return causes
    causes = _allocate_addresses(spec, before, specs)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        causes += _allocate_node_ports(spec, specs)
    return causes


def _allocate_addresses(spec: JsonObject, before: JsonObject, others: list[JsonObject]) -> list[Cause]:
    if spec.get("clusterIP") == HEADLESS:
        spec["clusterIPs"] = [HEADLESS]
        return []
    used = {address for other in others for address in other.get("clusterIPs") or [other.get("clusterIP")]}
    kept = set(before.get("clusterIPs") or [before.get("clusterIP")])
    given = list(spec.get("clusterIPs") or [])
    causes, addresses = [], []
    for index, family in enumerate(spec["ipFamilies"]):
        wanted = given[index] if index < len(given) else ""
        if not wanted:
            wanted = _free_address(CIDRS[family], used)
        elif wanted not in kept:
            causes += _requested_address(given, wanted, family, used)
        addresses.append(wanted)
    spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
    return causes


def _requested_address(given: list[str], wanted: str, family: str, used: set[str | None]) -> list[Cause]:
    cidr = CIDRS[family]
    if ip_address(wanted) not in cidr:
        why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {cidr}"
    elif wanted in used:
        why = "provided IP is already allocated"
    else:
        return []
    shown = ",".join(f'"{address}"' for address in given)
    text = f"Invalid value: [{shown}]: failed to allocate IP {wanted}: {why}"
    return [Cause("FieldValueInvalid", text, "spec.clusterIPs")]


def _free_address(cidr: IPv4Network | IPv6Network, used: set[str | None]) -> str:
    while True:
        offset = random.randrange(STATIC_BAND, cidr.num_addresses - 1)  # noqa: S311 - an address, no secret
        address = str(cidr[offset])
        if address not in used:
            return address


def _allocate_node_ports(spec: JsonObject, others: list[JsonObject]) -> list[Cause]:
    used = {(_protocol(p), p.get("nodePort")) for other in others for p in other.get("ports") or []}
    used |= {("TCP", other["healthCheckNodePort"]) for other in others if other.get("healthCheckNodePort")}
    causes = []
    wanted = spec.get("allocateLoadBalancerNodePorts") is not False or not _is_balanced(spec)
    for index, port in enumerate(spec.get("ports") or []):
        if wanted or port.get("nodePort"):
            causes += _allocate_node_port(
                port, "nodePort", f"spec.ports[{index}].nodePort", _protocol(port), used
            )
    if _is_checked(spec):
        causes += _allocate_node_port(spec, "healthCheckNodePort", "spec.healthCheckNodePort", "TCP", used)
    return causes


def _allocate_node_port(
    holder: JsonObject, field: str, path: str, protocol: str, used: set[tuple[str, object]]
) -> list[Cause]:
    """Into ``holder``; in ``used`` from then on."""
    number, why = holder.get(field), ""
    if not number:
        number = next(free for free in NODE_PORTS if (protocol, free) not in used)
    elif number not in NODE_PORTS:
        why = "provided port is not in the valid range. The range of valid ports is 30000-32767"
    elif (protocol, number) in used:
        why = "provided port is already allocated"
    holder[field] = number
    used.add((protocol, number))
    return [Cause("FieldValueInvalid", f"Invalid value: {number}: {why}", path)] if why else []


def _protocol(port: JsonObject) -> str:
    return str(port.get("protocol") or "TCP")


def _port_key(port: JsonObject) -> tuple[str, object]:
    return _protocol(port), port.get("port")
