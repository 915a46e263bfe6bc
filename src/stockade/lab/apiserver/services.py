"""Cluster addresses and node ports of Services (kube-apiserver's Service REST storage and its allocators).

Called by admission on create and update. What is in use is read from the stored Services each time: a lab has few.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.registry import JsonObject

SERVICE_CIDR = IPv4Network("10.96.0.0/12")
NODE_PORTS = range(30000, 32768)
STATIC_BAND = 256  # the low addresses are left to explicit requests (KEP-3070)
HEADLESS = "None"
EXTERNAL_NAME = "ExternalName"


def admit_service(service: JsonObject, old: JsonObject | None, others: Iterable[JsonObject]) -> list[Cause]:
    """Fill addresses and node ports of ``service``; answers what is wrong with those that were asked for."""
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    specs = [other.get("spec", {}) for other in others]
    if spec["type"] == EXTERNAL_NAME:
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)
        return []
    causes = _admit_address(spec, (old or {}).get("spec", {}), specs)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        causes += _admit_node_ports(spec, (old or {}).get("spec", {}), specs)
    return causes


def _admit_address(spec: JsonObject, old: JsonObject, others: list[JsonObject]) -> list[Cause]:
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    before = old.get("clusterIP", "")
    wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "") or before
    used = {other.get("clusterIP") for other in others}
    causes = []
    if before and wanted != before and old.get("type") != EXTERNAL_NAME:
        causes.append(
            Cause(
                "FieldValueInvalid",
                f'Invalid value: ["{wanted}"]: may not change once set',
                "spec.clusterIPs[0]",
            )
        )
    elif not wanted:
        wanted = _free_address(used)
    elif wanted not in (HEADLESS, before):
        causes += _requested_address(wanted, used)
    spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
    return causes


def _requested_address(wanted: str, used: set[str | None]) -> list[Cause]:
    problem = ""
    try:
        inside = IPv4Address(wanted) in SERVICE_CIDR
    except AddressValueError:
        problem = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    else:
        if not inside:
            problem = (
                f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {SERVICE_CIDR}"
            )
        elif wanted in used:
            problem = f"failed to allocate IP {wanted}: provided IP is already allocated"
    if not problem:
        return []
    return [Cause("FieldValueInvalid", f'Invalid value: ["{wanted}"]: {problem}', "spec.clusterIPs")]


def _free_address(used: set[str | None]) -> str:
    while True:
        offset = random.randrange(STATIC_BAND, SERVICE_CIDR.num_addresses - 1)  # noqa: S311 - an address, no secret
        address = str(SERVICE_CIDR[offset])
        if address not in used:
            return address


def _admit_node_ports(spec: JsonObject, old: JsonObject, others: list[JsonObject]) -> list[Cause]:
    used = {port.get("nodePort") for other in others for port in other.get("ports") or []}
    kept = {(p.get("protocol", "TCP"), p.get("port")): p.get("nodePort") for p in old.get("ports") or []}
    causes = []
    for index, port in enumerate(spec.get("ports") or []):
        path = f"spec.ports[{index}].nodePort"
        wanted = port.get("nodePort") or kept.get((port.get("protocol", "TCP"), port.get("port")))
        if not wanted:
            wanted = next(number for number in NODE_PORTS if number not in used)
        elif wanted not in NODE_PORTS:
            why = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {wanted}: {why}", path))
        elif wanted in used:
            why = "provided port is already allocated"
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {wanted}: {why}", path))
        port["nodePort"] = wanted
        used.add(wanted)
    return causes
