"""Services, endpoints and policies (printService, printEndpoints, printEndpointSlice, printNetworkPolicy)."""

from __future__ import annotations

from collections.abc import Sequence

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import NONE, Printer, columns, labels_text, selector_text
from stockade.lab.apiserver.registry import JsonObject

MANY = 3  # endpoints shown before "+ N more..."


def _service(obj: JsonObject) -> list[object]:
    spec, metadata = obj.get("spec", {}), obj["metadata"]
    addresses = spec.get("clusterIPs") or []
    return [
        metadata["name"],
        spec.get("type", "ClusterIP"),
        next(iter(addresses), "") or spec.get("clusterIP") or NONE,
        _external(obj),
        _service_ports(spec.get("ports") or []),
        age_of(metadata.get("creationTimestamp")),
        labels_text(spec.get("selector")),
    ]


def _external(obj: JsonObject) -> str:
    spec = obj.get("spec", {})
    given = list(spec.get("externalIPs") or [])
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or NONE)
    if spec.get("type") == "LoadBalancer":
        ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        given = sorted({item.get("ip") or item.get("hostname") or "" for item in ingress} - {""}) + given
        return ",".join(given) or "<pending>"
    return ",".join(given) or NONE


def _service_ports(ports: Sequence[JsonObject]) -> str:
    texts = []
    for port in ports:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _endpoints(obj: JsonObject) -> list[object]:
    metadata = obj["metadata"]
    pairs = []
    for subset in obj.get("subsets") or []:
        ports = [port.get("port") for port in subset.get("ports") or []]
        for address in subset.get("addresses") or []:
            pairs += [f"{address['ip']}:{port}" for port in ports] or [address["ip"]]
    return [metadata["name"], _some(pairs, " + {} more..."), age_of(metadata.get("creationTimestamp"))]


def _some(texts: list[str], more: str) -> str:
    shown = ",".join(texts[:MANY])
    return (shown + more.format(len(texts) - MANY) if len(texts) > MANY else shown) or NONE


def _endpoint_slice(obj: JsonObject) -> list[object]:
    metadata = obj["metadata"]
    ports = [str(port.get("port") or "*") for port in obj.get("ports") or []]
    addresses = [address for item in obj.get("endpoints") or [] for address in item.get("addresses") or []]
    return [
        metadata["name"],
        obj.get("addressType", ""),
        _some(ports, " + {} more...") if ports else "<unset>",
        _some(addresses, " + {} more...") if addresses else "<unset>",
        age_of(metadata.get("creationTimestamp")),
    ]


def _network_policy(obj: JsonObject) -> list[object]:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    return [
        metadata["name"],
        selector_text(spec.get("podSelector")),
        age_of(metadata.get("creationTimestamp")),
    ]


SERVICE = Printer(columns("Name,Type,Cluster-IP,External-IP,Port(s),Age", "Selector"), _service)
ENDPOINTS = Printer(columns("Name,Endpoints,Age"), _endpoints)
ENDPOINT_SLICE = Printer(columns("Name,AddressType,Ports,Endpoints,Age"), _endpoint_slice)
NETWORK_POLICY = Printer(columns("Name,Pod-Selector,Age"), _network_policy)
