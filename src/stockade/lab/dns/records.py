"""What a name means in the cluster: Services, EndpointSlices and pods to DNS answers. Pure.

In: raw objects, the cluster domain, and the few names the simulated Internet knows. Out: a ``Zone`` that answers
``(name, type)``. Called by ``lab.dns.server`` and ``lab.internet``. Rules: Kubernetes DNS specification 1.1.0 (ClusterIP, headless, ExternalName,
SRV for named ports, PTR, ``dns-version``), RFC 8020 (a name above an existing one exists), and what the resolvers in images
need: an empty NOERROR, not NXDOMAIN, for AAAA where A exists; NXDOMAIN at once for everything else, as each lookup walks a
search list first.

Names are lower case without the final dot.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import Endpoint, PortEndpoints, ServiceKey, ready_endpoints

NOERROR = "NOERROR"
NXDOMAIN = "NXDOMAIN"
_TTL = 5
_OUTSIDE_TTL = 300
_CNAME_HOPS = 8
_SCHEMA_VERSION = '"1.1.0"'


class Record(msgspec.Struct, frozen=True):
    """One resource record; ``value`` in zone-file form."""

    name: str
    kind: str
    value: str
    ttl: int = _TTL


class Answer(msgspec.Struct, frozen=True):
    """``authority`` is the SOA record of the zone when the answer is empty (negative caching, RFC 2308)."""

    code: str
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authority: Record | None = None
    authoritative: bool = True


class Zone:
    """All names at one moment. Build with ``cluster_zone`` or ``outside_zone``; then read only."""

    def __init__(self, domain: str = "") -> None:
        self.domain = domain
        self._records: dict[str, dict[str, dict[str, Record]]] = {}  # name, type, value
        self._parents: set[str] = set()

    def add(self, name: str, kind: str, value: str, ttl: int = _TTL) -> None:
        """The same record twice is one record. Every name above ``name`` exists from now on."""
        present = self._records.setdefault(name, {}).setdefault(kind, {})
        present.setdefault(value, Record(name, kind, value, ttl))
        parent = name.partition(".")[2]
        while parent and parent not in self._parents:
            self._parents.add(parent)
            parent = parent.partition(".")[2]

    def answer(self, name: str, kind: str) -> Answer:
        """CNAMEs are followed as far as this zone knows them."""
        name = name.lower().rstrip(".")
        chain: list[Record] = []
        for _ in range(_CNAME_HOPS):
            found = self._records.get(name)
            if found is None:
                return self._missing(name, tuple(chain))
            if kind in found or "CNAME" not in found or kind == "CNAME":
                break
            chain += found["CNAME"].values()
            name = chain[-1].value.rstrip(".")
        found = self._records.get(name, {})
        records = tuple(chain) + tuple(found.get(kind, {}).values())
        mine = self._is_mine(name)
        if not records:
            return Answer(NOERROR, authority=self._authority(name), authoritative=mine)
        return Answer(NOERROR, records, tuple(self._targets(records)), authoritative=mine or bool(chain))

    def _missing(self, name: str, chain: tuple[Record, ...]) -> Answer:
        """Only a CNAME's target may be unknown to us and exist elsewhere; elsewhere does not exist in the lab either."""
        code = NOERROR if name in self._parents and self._is_mine(name) else NXDOMAIN
        return Answer(
            code, chain, authority=self._authority(name), authoritative=self._is_mine(name) or bool(chain)
        )

    def _targets(self, records: tuple[Record, ...]) -> Iterable[Record]:
        """The addresses of SRV targets, so that the client need not ask again."""
        names = dict.fromkeys(
            record.value.rsplit(" ", 1)[1].rstrip(".") for record in records if record.kind == "SRV"
        )
        for name in names:
            for kind in ("A", "AAAA"):
                yield from self._records.get(name, {}).get(kind, {}).values()

    def _is_mine(self, name: str) -> bool:
        """In the cluster's domain, or the reverse name of one of its addresses."""
        if not self.domain:
            return False
        return name == self.domain or name.endswith(f".{self.domain}") or "PTR" in self._records.get(name, {})

    def _authority(self, name: str) -> Record | None:
        return soa(self.domain) if self._is_mine(name) and name.endswith(self.domain) else None


def soa(domain: str) -> Record:
    """The serial number means nothing here: nobody transfers this zone."""
    return Record(domain, "SOA", f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {_TTL}")


def outside_zone(*names: Mapping[str, str]) -> Zone:
    """The simulated Internet alone: address records of either family."""
    zone = Zone()
    for some in names:
        _add_outside(zone, some)
    return zone


def cluster_zone(
    services: Iterable[JsonObject],
    slices: Iterable[JsonObject],
    pods: Iterable[JsonObject],
    domain: str,
    outside: Mapping[str, str] | None = None,
) -> Zone:
    """The cluster's names under ``domain``, their reverse names, and the names of ``outside``."""
    zone = Zone(domain)
    zone.add(domain, "SOA", soa(domain).value)
    zone.add(domain, "NS", f"ns.dns.{domain}.")
    zone.add(f"dns-version.{domain}", "TXT", _SCHEMA_VERSION)
    _add_outside(zone, outside or {})
    all_pods = list(pods)
    hostnames = _hostnames(all_pods)
    ready = ready_endpoints(slices)
    for service in services:
        metadata = service["metadata"]
        key = (metadata["namespace"], metadata["name"])
        base = f"{key[1]}.{key[0]}.svc.{domain}"
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            zone.add(base, "CNAME", str(spec.get("externalName", "")).lower().rstrip(".") + ".")
        elif spec.get("clusterIP") == "None":
            _add_headless(zone, base, key, ready.get(key, []), hostnames)
        else:
            _add_virtual(zone, base, spec)
    _add_pods(zone, all_pods, domain)
    return zone


def _add_outside(zone: Zone, names: Mapping[str, str]) -> None:
    for name, address in names.items():
        zone.add(name, _kind(address), address, _OUTSIDE_TTL)


def _add_virtual(zone: Zone, base: str, spec: JsonObject) -> None:
    addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
    for address in addresses:
        _add_address(zone, base, address, reverse=True)
    for port in (spec.get("ports") or ()) if addresses else ():
        if port.get("name"):
            protocol = (port.get("protocol") or "TCP").lower()
            zone.add(f"_{port['name']}._{protocol}.{base}", "SRV", f"0 100 {port['port']} {base}.")


def _add_headless(
    zone: Zone,
    base: str,
    service: ServiceKey,
    ports: list[PortEndpoints],
    hostnames: Mapping[tuple[ServiceKey, str], str],
) -> None:
    targets: dict[str, dict[tuple[int, str], None]] = {}  # name of SRV, then port and host
    for port in ports:
        for endpoint in port.endpoints:
            zone.add(base, _kind(endpoint.address), endpoint.address)
            host = f"{_label(endpoint, service, hostnames)}.{base}"
            _add_address(zone, host, endpoint.address, reverse=True)
            if port.name:
                owner = f"_{port.name}._{port.protocol.lower()}.{base}"
                targets.setdefault(owner, {})[port.port, host] = None
    for owner, found in targets.items():
        for number, host in found:  # a host of both families once
            zone.add(owner, "SRV", f"0 {max(1, 100 // len(found))} {number} {host}.")


def _label(endpoint: Endpoint, service: ServiceKey, hostnames: Mapping[tuple[ServiceKey, str], str]) -> str:
    """Its hostname, or its address with dashes."""
    named = endpoint.hostname or (hostnames.get((endpoint.pod, service[1])) if endpoint.pod else None)
    return named or _dashes(endpoint.address)


def _dashes(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _hostnames(pods: Iterable[JsonObject]) -> dict[tuple[ServiceKey, str], str]:
    """(pod, Service) → label, for pods with spec.hostname whose spec.subdomain names the Service."""
    found = {}
    for pod in pods:
        spec, metadata = pod.get("spec") or {}, pod["metadata"]
        if spec.get("hostname") and spec.get("subdomain"):
            key = (metadata["namespace"], metadata["name"])
            found[key, spec["subdomain"]] = spec["hostname"]
    return found


def _add_pods(zone: Zone, pods: Iterable[JsonObject], domain: str) -> None:
    """``1-2-3-4.<namespace>.pod.<domain>``, only for pods that exist."""
    for pod in pods:
        status = pod.get("status") or {}
        if status.get("phase") in {"Succeeded", "Failed"}:
            continue
        others = [entry.get("ip") for entry in status.get("podIPs") or ()]
        for address in dict.fromkeys((status.get("podIP"), *others)):
            if address:
                name = f"{_dashes(address)}.{pod['metadata']['namespace']}.pod.{domain}"
                _add_address(zone, name, address)


def _add_address(zone: Zone, name: str, address: str, *, reverse: bool = False) -> None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return
    zone.add(name, _kind(address), str(parsed))
    if reverse:
        zone.add(parsed.reverse_pointer, "PTR", f"{name}.")
