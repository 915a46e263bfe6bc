"""Services joined with their EndpointSlices, as the Service proxy and DNS both need them.

In: raw EndpointSlice objects. Out: ``PortEndpoints`` and ``Backend`` values. Rules: a slice belongs to the Service
that its label ``kubernetes.io/service-name`` names; its ports match the Service's by name and protocol; an endpoint takes
part unless its condition ``ready`` is false (unset means ready: discovery.k8s.io/v1 EndpointConditions). One that ends but still serves takes
part where none is ready (KEP-1669); DNS does not name it.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.model.objects import SERVICE_NAME_LABEL

_VERSIONS = {"IPv4": 4, "IPv6": 6}
ServiceKey = tuple[str, str]  # namespace, name


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """One address behind a Service. ``hostname`` is its DNS label under a headless Service, "" when it has none of its own."""

    address: str
    hostname: str = ""
    pod: ServiceKey | None = None
    node: str = ""
    ready: bool = True


class PortEndpoints(msgspec.Struct, frozen=True):
    """Endpoints of one port of a Service, with the port number they listen on."""

    name: str
    protocol: str
    port: int
    endpoints: tuple[Endpoint, ...]


class Backend(msgspec.Struct, frozen=True, order=True):
    """Where a packet may be sent."""

    address: str
    port: int
    node: str = ""


def ready_endpoints(slices: Iterable[JsonObject]) -> dict[ServiceKey, list[PortEndpoints]]:
    """The ready ones alone."""
    return {
        service: [
            msgspec.structs.replace(each, endpoints=tuple(one for one in each.endpoints if one.ready))
            for each in ports
        ]
        for service, ports in all_endpoints(slices).items()
    }


def all_endpoints(slices: Iterable[JsonObject]) -> dict[ServiceKey, list[PortEndpoints]]:
    """Endpoints of both families per Service, ready or serving until they end. A slice without ports (headless, no ports) has one entry
    with port 0."""
    found: defaultdict[ServiceKey, list[PortEndpoints]] = defaultdict(list)
    for obj in slices:
        metadata = obj["metadata"]
        service = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
        version = _VERSIONS.get(obj.get("addressType", "IPv4"))
        if not service or version is None:
            continue
        endpoints = tuple(_usable(obj.get("endpoints") or (), version))
        ports: Iterable[JsonObject] = obj.get("ports") or ({},)
        for port in ports:
            entry = PortEndpoints(
                port.get("name") or "", port.get("protocol") or "TCP", port.get("port") or 0, endpoints
            )
            found[metadata["namespace"], service].append(entry)
    return found


def backends_of(
    found: Mapping[ServiceKey, list[PortEndpoints]],
    service: ServiceKey,
    name: str,
    protocol: str,
    version: int = 4,
) -> list[Backend]:
    """Of the Service's port ``name`` in one family: the ready ones, or else those that still serve."""
    usable = [
        (endpoint.ready, Backend(endpoint.address, entry.port, endpoint.node))
        for entry in found.get(service, ())
        if entry.name == name and entry.protocol == protocol and entry.port
        for endpoint in entry.endpoints
        if (":" in endpoint.address) == (version == 6)
    ]
    some_ready = any(ready for ready, _ in usable)
    return [backend for ready, backend in usable if ready or not some_ready]


def _usable(endpoints: Iterable[JsonObject], version: int) -> Iterable[Endpoint]:
    for endpoint in endpoints:
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False
        if not ready and not (conditions.get("serving") and conditions.get("terminating")):
            continue
        target = endpoint.get("targetRef") or {}
        is_pod = target.get("kind") == "Pod"
        pod = (target.get("namespace") or "", target.get("name") or "") if is_pod else None
        for text in endpoint.get("addresses") or ():
            if address := canonical(text, version):
                yield Endpoint(
                    address, endpoint.get("hostname") or "", pod, endpoint.get("nodeName") or "", ready
                )


def canonical(text: str | None, version: int) -> str | None:
    """The address in its one form; None when it is no address of that family. Slices and Services are written by anybody with a token,
    and an address goes into nft text: nothing else may pass (a zone such as ``%eth0`` neither), and no address in two spellings."""
    return _canonical(text, version) if isinstance(text, str) else None


@lru_cache(maxsize=4096)  # the same few addresses at each change of any Service
def _canonical(text: str, version: int) -> str | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(parsed) if parsed.version == version and "%" not in text else None
