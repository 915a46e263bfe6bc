"""Cluster addresses and node ports of Services (kube-apiserver's Service REST storage and its allocators).

Called by admission, after validation. What is in use is read from the stored Services each time: a lab has few.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.registry import JsonObject

SERVICE_CIDR = IPv4Network("10.96.0.0/12")
NODE_PORTS = range(30000, 32768)
STATIC_BAND = 256  # the low addresses are left to explicit requests (KEP-3070)
HEADLESS = "None"
EXTERNAL_NAME = "ExternalName"
ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def keep_allocated(service: JsonObject, old: JsonObject) -> None:
    """Before an update is validated: what the client left out stays as allocated (``patchAllocatedValues``)."""
    spec, before = service.setdefault("spec", {}), old.get("spec") or {}
    if spec.get("type", "ClusterIP") != EXTERNAL_NAME and not spec.get("clusterIP"):
        for field in ("clusterIP", "clusterIPs"):
            if before.get(field):
                spec[field] = before[field]
    ports = {_port_key(port): port.get("nodePort") for port in before.get("ports") or []}
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        for port in spec.get("ports") or []:
            if not port.get("nodePort") and ports.get(_port_key(port)):
                port["nodePort"] = ports[_port_key(port)]


def allocate(service: JsonObject, old: JsonObject | None, others: Iterable[JsonObject]) -> list[Cause]:
    """Fill address and node ports of ``service``; answers what is wrong with those that were asked for."""
    spec = service.setdefault("spec", {})
    if spec.setdefault("type", "ClusterIP") == EXTERNAL_NAME:
        for field in ADDRESS_FIELDS:
            spec.pop(field, None)
        return []
    specs = [other.get("spec") or {} for other in others]
    causes = _allocate_address(spec, ((old or {}).get("spec") or {}).get("clusterIP", ""), specs)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        causes += _allocate_node_ports(spec, specs)
    return causes


def _allocate_address(spec: JsonObject, before: str, others: list[JsonObject]) -> list[Cause]:
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
    used = {other.get("clusterIP") for other in others}
    causes = []
    if not wanted:
        wanted = _free_address(used)
    elif wanted not in (HEADLESS, before):
        causes = _requested_address(wanted, used)
    spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
    return causes


def _requested_address(wanted: str, used: set[str | None]) -> list[Cause]:
    if ":" in wanted or IPv4Address(wanted) not in SERVICE_CIDR:
        why = (
            f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {SERVICE_CIDR}"
        )
    elif wanted in used:
        why = "provided IP is already allocated"
    else:
        return []
    text = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
    return [Cause("FieldValueInvalid", text, "spec.clusterIPs")]


def _free_address(used: set[str | None]) -> str:
    while True:
        offset = random.randrange(STATIC_BAND, SERVICE_CIDR.num_addresses - 1)  # noqa: S311 - an address, no secret
        address = str(SERVICE_CIDR[offset])
        if address not in used:
            return address


def _allocate_node_ports(spec: JsonObject, others: list[JsonObject]) -> list[Cause]:
    used = {(_protocol(p), p.get("nodePort")) for other in others for p in other.get("ports") or []}
    causes = []
    for index, port in enumerate(spec.get("ports") or []):
        number, why = port.get("nodePort"), ""
        if not number:
            number = next(free for free in NODE_PORTS if (_protocol(port), free) not in used)
        elif number not in NODE_PORTS:
            why = "provided port is not in the valid range. The range of valid ports is 30000-32767"
        elif (_protocol(port), number) in used:
            why = "provided port is already allocated"
        if why:
            text = f"Invalid value: {number}: {why}"
            causes.append(Cause("FieldValueInvalid", text, f"spec.ports[{index}].nodePort"))
        port["nodePort"] = number
        used.add((_protocol(port), number))
    return causes


def _protocol(port: JsonObject) -> str:
    return str(port.get("protocol") or "TCP")


def _port_key(port: JsonObject) -> tuple[str, object]:
    return _protocol(port), port.get("port")
