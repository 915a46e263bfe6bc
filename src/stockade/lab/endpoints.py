"""Services joined with their EndpointSlices, as the Service proxy and DNS both need them.

In: raw Service and EndpointSlice objects. Out: ``ServicePort`` and ``Endpoint`` values. Rules: a slice belongs to the Service
that its label ``kubernetes.io/service-name`` names; its ports match the Service's by name and protocol; an endpoint takes
part unless its condition ``ready`` is false (unset means ready: discovery.k8s.io/v1 EndpointConditions).
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


class PortEndpoints(msgspec.Struct, frozen=True):
    """The ready endpoints of one port of a Service, with the port number they listen on."""

    name: str
    protocol: str
    port: int
    endpoints: tuple[Endpoint, ...]


def ready_endpoints(slices: Iterable[JsonObject]) -> dict[ServiceKey, list[PortEndpoints]]:
    """Endpoints of both families per Service. A slice without ports (headless, no ports) has one entry with port 0."""
    found: defaultdict[ServiceKey, list[PortEndpoints]] = defaultdict(list)
    for obj in slices:
        metadata = obj["metadata"]
        service = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
        version = _VERSIONS.get(obj.get("addressType", "IPv4"))
        if not service or version is None:
            continue
        endpoints = tuple(_ready(obj.get("endpoints") or (), version))
        ports: Iterable[JsonObject] = obj.get("ports") or ({},)
        for port in ports:
            entry = PortEndpoints(
                port.get("name") or "", port.get("protocol") or "TCP", port.get("port") or 0, endpoints
            )
            found[metadata["namespace"], service].append(entry)
    return found


def endpoints_of(
    found: Mapping[ServiceKey, list[PortEndpoints]],
    service: ServiceKey,
    name: str,
    protocol: str,
    version: int = 4,
) -> tuple[tuple[str, int], ...]:
    """(address, port) of the ready endpoints of the Service's port ``name`` in one family, sorted, each once."""
    pairs = {
        (endpoint.address, entry.port)
        for entry in found.get(service, ())
        if entry.name == name and entry.protocol == protocol and entry.port
        for endpoint in entry.endpoints
        if (":" in endpoint.address) == (version == 6)
    }
    return tuple(sorted(pairs))


def _ready(endpoints: Iterable[JsonObject], version: int) -> Iterable[Endpoint]:
    for endpoint in endpoints:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        target = endpoint.get("targetRef") or {}
        is_pod = target.get("kind") == "Pod"
        pod = (target.get("namespace") or "", target.get("name") or "") if is_pod else None
        for text in endpoint.get("addresses") or ():
            if address := canonical(text, version):
                yield Endpoint(address, endpoint.get("hostname") or "", pod)


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
