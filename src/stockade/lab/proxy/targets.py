"""Services joined with their EndpointSlices: who asks at which door is sent where. Pure.

In: raw Services and EndpointSlices, the node's name and addresses. Out: ``Target`` values. Called by ``lab.proxy.proxy``; ``render`` makes rules of
them. A door is a virtual address and port: the ClusterIP is for clients inside; node ports, external addresses and the load balancer's are
for those outside. Rules: Service v1 core (internalTrafficPolicy, externalTrafficPolicy, loadBalancerSourceRanges, sessionAffinity), and
KEP-1669: where no endpoint is ready, those that end but still serve are used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TypeVar

import msgspec

from stockade.lab.addresses import CLUSTER_CIDR, CLUSTER_CIDR_6
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import Backend, PortEndpoints, ServiceKey, all_endpoints, backends_of, canonical

Door = tuple[str, int]  # address and port
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_UNSAFE = re.compile(r"[^a-z0-9.-]")
_LONGEST_AFFINITY = 10800
_Network = TypeVar("_Network", IPv4Network, IPv6Network)


class Family(msgspec.Struct, frozen=True):
    """The words that differ between the two tables; ``cluster`` is where pods live."""

    version: int
    name: str
    type: str
    port_unreachable: str
    host_unreachable: str
    cluster: str

    def host(self, address: str) -> str:
        return f"[{address}]" if self.version == 6 else address


IPV4 = Family(4, "ip", "ipv4_addr", "icmp type port-unreachable", "icmp type host-unreachable", CLUSTER_CIDR)
IPV6 = Family(
    6, "ip6", "ipv6_addr", "icmpv6 type port-unreachable", "icmpv6 type addr-unreachable", CLUSTER_CIDR_6
)


class Target(msgspec.Struct, frozen=True):
    """One port of one Service, at some of its doors. ``inside``: where senders within the cluster go, if elsewhere than the others (to an outer door
    of a Service whose external traffic stays on the node). ``dropped``: without ``endpoints`` here there are some on other nodes, and
    who asks gets no answer instead of a refusal. ``sticky``: seconds for which a client is sent to the same endpoint. ``guarded``: the doors
    that only senders from ``ranges`` may use."""

    namespace: str
    service: str
    protocol: str
    port: int
    doors: tuple[Door, ...]
    endpoints: tuple[Door, ...]
    sticky: int = 0
    kind: str = ""
    inside: tuple[Door, ...] = ()
    dropped: bool = False
    guarded: tuple[Door, ...] = ()
    ranges: tuple[str, ...] = ()

    @property
    def chain(self) -> str:
        parts = (
            self.namespace,
            self.service,
            self.protocol,
            str(self.port),
            *([self.kind] if self.kind else []),
        )
        return "svc-" + "/".join(_UNSAFE.sub("_", part) for part in parts)


def targets(
    services: Iterable[JsonObject],
    slices: Iterable[JsonObject],
    node_addresses: Iterable[str] = (),
    family: Family = IPV4,
    node: str = "",
) -> list[Target]:
    """Every port of every Service that has an address of ``family``, in a stable order. ``node_addresses`` serve the node ports."""
    known = all_endpoints(slices)
    nodes = tuple(address for address in node_addresses if canonical(address, family.version))
    found = [each for obj in services for each in _of_service(obj, known, nodes, family, node)]
    return sorted(found, key=lambda target: target.chain)


def _of_service(
    obj: JsonObject,
    known: Mapping[ServiceKey, list[PortEndpoints]],
    nodes: tuple[str, ...],
    family: Family,
    node: str,
) -> Iterator[Target]:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    cluster = list(_cluster_ips(obj, family))
    if not cluster:
        return
    key = (metadata["namespace"], metadata["name"])
    balanced = list(_balanced(obj, family))
    outer = [*_valid(spec.get("externalIPs") or (), family), *balanced]
    for port in spec.get("ports") or ():
        protocol = PROTOCOLS.get(port.get("protocol") or "TCP")
        if protocol is None:
            continue
        number, node_port = int(port["port"]), int(port.get("nodePort") or 0)
        inner_doors = tuple((address, number) for address in cluster)
        outer_doors = tuple((address, number) for address in outer)
        outer_doors += tuple((address, node_port) for address in nodes if node_port)
        backends = backends_of(known, key, port.get("name") or "", protocol.upper(), family.version)
        whole = Target(
            *key,
            protocol,
            number,
            inner_doors + outer_doors,
            _addresses(backends),
            sticky=_affinity(spec),
            guarded=tuple((address, number) for address in balanced),
            ranges=_ranges(spec, family),
        )
        yield from _by_policy(whole, spec, inner_doors, outer_doors, backends, node)


def _by_policy(
    whole: Target,
    spec: JsonObject,
    inner: tuple[Door, ...],
    outer: tuple[Door, ...],
    backends: list[Backend],
    node: str,
) -> Iterator[Target]:
    """One target, or one for each kind of doors where a traffic policy tells them apart."""
    stays_inside = spec.get("internalTrafficPolicy") == "Local"
    stays_outside = spec.get("externalTrafficPolicy") == "Local" and bool(outer)
    if not stays_inside and not stays_outside:
        yield whole
        return
    here = _addresses([each for each in backends if each.node == node])
    local = {"endpoints": here, "dropped": bool(whole.endpoints) and not here}
    yield msgspec.structs.replace(
        whole, doors=inner, guarded=(), ranges=(), **(local if stays_inside else {})
    )
    if outer:
        more = {**local, "inside": whole.endpoints} if stays_outside else {}
        yield msgspec.structs.replace(whole, doors=outer, kind="external", **more)


def _addresses(backends: Iterable[Backend]) -> tuple[Door, ...]:
    return tuple(sorted({(each.address, each.port) for each in backends}))


def _affinity(spec: JsonObject) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    given = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    return int(given or _LONGEST_AFFINITY)


def _ranges(spec: JsonObject, family: Family) -> tuple[str, ...]:
    """CIDRs of ``family``. Those of the other one say nothing about this one, as in kube-proxy."""
    texts = [str(text).strip() for text in spec.get("loadBalancerSourceRanges") or ()]
    return _collapsed(texts, IPv6Network) if family.version == 6 else _collapsed(texts, IPv4Network)


def _collapsed(texts: Iterable[str], kind: type[_Network]) -> tuple[str, ...]:
    found: list[_Network] = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(kind(text, strict=False))
    return tuple(str(network) for network in collapse_addresses(found))


def lost_flows(before: Iterable[Target], after: Iterable[Target]) -> dict[Door, frozenset[Door]]:
    """The UDP doors from which an endpoint was taken away, with the endpoints they have now."""
    old, new = _udp_doors(before), _udp_doors(after)
    now = {door: new.get(door, frozenset()) for door in old}
    return {door: endpoints for door, endpoints in now.items() if not old[door] <= endpoints}


def _udp_doors(found: Iterable[Target]) -> dict[Door, frozenset[Door]]:
    return {
        door: frozenset((*target.endpoints, *target.inside))
        for target in found
        if target.protocol == "udp"
        for door in target.doors
    }


def cluster_ips(services: Iterable[JsonObject], family: Family = IPV4) -> list[str]:
    """Every ClusterIP of ``family`` in use."""
    return sorted({ip for obj in services for ip in _cluster_ips(obj, family)})


def _cluster_ips(obj: JsonObject, family: Family) -> Iterator[str]:
    spec = obj.get("spec") or {}
    if spec.get("type") != "ExternalName":
        yield from _valid(spec.get("clusterIPs") or [spec.get("clusterIP")], family)  # "None": headless


def _balanced(obj: JsonObject, family: Family) -> Iterator[str]:
    """The load balancer's addresses; those of mode Proxy are none of ours (KEP-1860)."""
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    yield from _valid((entry.get("ip") for entry in ingress if entry.get("ipMode") != "Proxy"), family)


def _valid(texts: Iterable[str | None], family: Family) -> Iterator[str]:
    for text in texts:
        if address := canonical(text, family.version):
            yield address
