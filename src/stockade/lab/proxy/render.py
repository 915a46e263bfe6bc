"""Services to nftables: which virtual address and port goes to which endpoints, as the text of one table. Pure.

In: raw Services and EndpointSlices. Out: nft text that replaces table ``ip stockade-proxy`` in one transaction. Called by
``lab.proxy.proxy``. The shape follows kube-proxy's nftables mode: one verdict map from (address, protocol, port) to a chain
per Service port, which picks an endpoint. The rules of the agent live in another table and see packets after translation
(reference rules 39-44): the pod's address and target port.

What is not translated is refused before any policy chain looks at it, as kube-proxy does: a Service without endpoints says
"connection refused" whatever the policies are (rule 44), and so does an unknown port of a Service's address; an address of
the service range that no Service has is unreachable.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import endpoints_of, ready_endpoints

TABLE = "ip stockade-proxy"
Door = tuple[str, int]  # address and port
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_UNSAFE = re.compile(r"[^a-z0-9.-]")


class Target(msgspec.Struct, frozen=True):
    """One port of one Service: where clients send (``doors``: address and port) and where it goes."""

    namespace: str
    service: str
    protocol: str
    port: int
    doors: tuple[Door, ...]
    endpoints: tuple[Door, ...]
    sticky: bool = False

    @property
    def chain(self) -> str:
        parts = (self.namespace, self.service, self.protocol, str(self.port))
        return "svc-" + "/".join(_UNSAFE.sub("_", part) for part in parts)


def targets(
    services: Iterable[JsonObject], slices: Iterable[JsonObject], node_addresses: Iterable[str] = ()
) -> list[Target]:
    """Every port of every Service that has an IPv4 address, in a stable order. ``node_addresses`` serve the node ports."""
    ready = ready_endpoints(slices)
    nodes = tuple(node_addresses)
    found: list[Target] = []
    for obj in services:
        metadata, spec = obj["metadata"], obj.get("spec") or {}
        addresses = tuple(_addresses(obj))
        if not addresses:
            continue
        key = (metadata["namespace"], metadata["name"])
        for port in spec.get("ports") or ():
            protocol = _PROTOCOLS.get(port.get("protocol") or "TCP")
            if protocol is None:
                continue
            number, node_port = int(port["port"]), port.get("nodePort")
            doors = tuple((address, number) for address in addresses)
            doors += tuple((address, int(node_port)) for address in nodes if node_port)
            endpoints = endpoints_of(ready, key, port.get("name") or "", protocol.upper())
            sticky = spec.get("sessionAffinity") == "ClientIP"
            found.append(Target(*key, protocol, number, doors, endpoints, sticky))
    return sorted(found, key=lambda target: target.chain)


def lost_flows(before: Iterable[Target], after: Iterable[Target]) -> dict[Door, frozenset[Door]]:
    """The UDP doors from which an endpoint was taken away, with the endpoints they have now."""
    old, new = _udp_doors(before), _udp_doors(after)
    now = {door: new.get(door, frozenset()) for door in old}
    return {door: endpoints for door, endpoints in now.items() if not old[door] <= endpoints}


def _udp_doors(found: Iterable[Target]) -> dict[Door, frozenset[Door]]:
    return {
        door: frozenset(target.endpoints)
        for target in found
        if target.protocol == "udp"
        for door in target.doors
    }


def cluster_ips(services: Iterable[JsonObject]) -> list[str]:
    """Every ClusterIP (IPv4) in use."""
    return sorted({ip for obj in services for ip in _cluster_ips(obj)})


def _cluster_ips(obj: JsonObject) -> Iterator[str]:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return
    for address in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        if _is_ipv4(address):
            yield address


def _addresses(obj: JsonObject) -> Iterator[str]:
    """ClusterIPs, externalIPs and the load balancer's addresses."""
    cluster = list(_cluster_ips(obj))
    yield from cluster
    if not cluster:
        return
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    others = [*((obj.get("spec") or {}).get("externalIPs") or ()), *(entry.get("ip") for entry in ingress)]
    yield from (address for address in others if _is_ipv4(address))


def _is_ipv4(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).version == 4
    except ValueError:  # "None": headless
        return False


def render(wanted: Iterable[Target], virtual: Iterable[str], service_cidr: str) -> str:
    """The whole table; ``virtual`` are the ClusterIPs in use. Adding it first lets the deletion pass when there is none."""
    all_targets = list(wanted)
    served = [target for target in all_targets if target.endpoints]
    unserved = [target for target in all_targets if not target.endpoints]
    addresses = sorted({address for target in served for address, _ in target.endpoints})
    blocks = [
        _set("cluster-ips", "ipv4_addr", virtual),
        _set("hairpin", "ipv4_addr . ipv4_addr", (f"{ip} . {ip}" for ip in addresses)),
        _set("no-endpoints", "ipv4_addr . inet_proto . inet_service", _unique(unserved, "")),
        _set(
            "services",
            "ipv4_addr . inet_proto . inet_service : verdict",
            _unique(served, " : goto {chain}"),
            kind="map",
        ),
        *(_chain(target.chain, [_translation(target)]) for target in served),
        *_fixed_chains(service_cidr),
    ]
    body = "\n".join(blocks)
    return f"add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{body}\n}}\n"


def _unique(wanted: Iterable[Target], suffix: str) -> Iterator[str]:
    """Map keys; where two Services claim one door (externalIPs), the first in order has it."""
    seen: set[tuple[str, str, int]] = set()
    for target in wanted:
        for address, port in target.doors:
            key = (address, target.protocol, port)
            if key not in seen:
                seen.add(key)
                yield f"{address} . {target.protocol} . {port}" + suffix.format(chain=target.chain)


def _translation(target: Target) -> str:
    count = len(target.endpoints)
    if count == 1:
        address, port = target.endpoints[0]
        return f"meta l4proto {target.protocol} dnat to {address}:{port}"
    choice = f"jhash ip saddr mod {count}" if target.sticky else f"numgen random mod {count}"
    pairs = ", ".join(f"{index} : {ip} . {port}" for index, (ip, port) in enumerate(target.endpoints))
    return f"meta l4proto {target.protocol} dnat ip to {choice} map {{ {pairs} }}"


def _set(name: str, kind_of_key: str, elements: Iterable[str], kind: str = "set") -> str:
    listed = ",\n\t\t\t".join(elements)
    content = f"\t\telements = {{\n\t\t\t{listed}\n\t\t}}\n" if listed else ""
    return f"\t{kind} {name} {{\n\t\ttype {kind_of_key}\n{content}\t}}"


def _chain(name: str, rules: Iterable[str]) -> str:
    lines = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"\tchain {name} {{\n{lines}\t}}"


def _fixed_chains(service_cidr: str) -> Iterator[str]:
    yield _chain("translate", ["ip daddr . meta l4proto . th dport vmap @services"])
    for hook in ("prerouting", "output"):
        yield _chain(f"nat-{hook}", [f"type nat hook {hook} priority -100; policy accept;", "goto translate"])
    # a pod that reaches itself through its Service would get the answer past the translation: only it is masqueraded
    yield _chain(
        "nat-postrouting",
        [
            "type nat hook postrouting priority 100; policy accept;",
            "ct status dnat ip saddr . ip daddr @hairpin masquerade",
        ],
    )
    yield _chain(
        "refuse", ["meta l4proto tcp reject with tcp reset", "reject with icmp type port-unreachable"]
    )
    yield _chain(
        "untranslated",
        [
            "ip daddr . meta l4proto . th dport @no-endpoints goto refuse",
            "ip daddr @cluster-ips goto refuse",
            f"ip daddr {service_cidr} reject with icmp type host-unreachable",
        ],
    )
    # before the agent's chains; in output after the translation, which is in the same hook
    for hook, priority in (("input", -110), ("forward", -110), ("output", 0)):
        # a local socket is locked while its first packet is refused and misses the ICMP error, but not a reset
        local = [f"ip daddr {service_cidr} goto refuse"] if hook == "output" else []
        yield _chain(
            f"filter-{hook}",
            [f"type filter hook {hook} priority {priority}; policy accept;", *local, "goto untranslated"],
        )
