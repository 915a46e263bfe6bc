"""Services to nftables: which virtual address and port goes to which endpoints, as the text of one table per family. Pure.

In: raw Services and EndpointSlices. Out: nft text that replaces table ``ip stockade-proxy`` (or ``ip6 …``) in one transaction. Called by
``lab.proxy.proxy``. The shape follows kube-proxy's nftables mode: one verdict map from (address, protocol, port) to a chain
per Service port, which picks an endpoint. The rules of the agent live in another table and see packets after translation
(reference rules 39-44): the pod's address and target port.

What is not translated is refused before any policy chain looks at it, as kube-proxy does: a Service without endpoints says
"connection refused" whatever the policies are (rule 44), and so does an unknown port of a Service's address; an address of
the service range that no Service has is unreachable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import canonical, endpoints_of, ready_endpoints

TABLE = "stockade-proxy"
ANTI_SPOOFING = """add table ip6 stockade-node
delete table ip6 stockade-node
table ip6 stockade-node {
\tchain prerouting {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
\t\tiifname "veth*" ip6 saddr fe80::/10 drop
\t\tip6 saddr != fe80::/10 fib saddr . iif oif missing drop
\t}
}
"""
"""What ``rp_filter=1`` does for IPv4: a packet whose answer would leave by another link is dropped. And a pod talks to its node with the
addresses that policies know: its link-local one is for neighbour discovery alone."""
Door = tuple[str, int]  # address and port
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_UNSAFE = re.compile(r"[^a-z0-9.-]")


class Family(msgspec.Struct, frozen=True):
    """The words that differ between the two tables."""

    version: int
    name: str
    type: str
    port_unreachable: str
    host_unreachable: str

    def host(self, address: str) -> str:
        return f"[{address}]" if self.version == 6 else address


IPV4 = Family(4, "ip", "ipv4_addr", "icmp type port-unreachable", "icmp type host-unreachable")
IPV6 = Family(6, "ip6", "ipv6_addr", "icmpv6 type port-unreachable", "icmpv6 type addr-unreachable")


class Outward(msgspec.Struct, frozen=True):
    """How this node sends strangers' connections (to a node port) on to another node: as its own ``address``, so that the answer
    comes back here to be translated. Those from ``local`` (its pods) keep their address."""

    link: str
    address: str
    local: str


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
    services: Iterable[JsonObject],
    slices: Iterable[JsonObject],
    node_addresses: Iterable[str] = (),
    family: Family = IPV4,
) -> list[Target]:
    """Every port of every Service that has an address of ``family``, in a stable order. ``node_addresses`` serve the node ports."""
    ready = ready_endpoints(slices)
    nodes = tuple(address for address in node_addresses if canonical(address, family.version))
    found: list[Target] = []
    for obj in services:
        metadata, spec = obj["metadata"], obj.get("spec") or {}
        addresses = tuple(_addresses(obj, family))
        if not addresses:
            continue
        key = (metadata["namespace"], metadata["name"])
        for port in spec.get("ports") or ():
            protocol = PROTOCOLS.get(port.get("protocol") or "TCP")
            if protocol is None:
                continue
            number, node_port = int(port["port"]), port.get("nodePort")
            doors = tuple((address, number) for address in addresses)
            doors += tuple((address, int(node_port)) for address in nodes if node_port)
            endpoints = endpoints_of(ready, key, port.get("name") or "", protocol.upper(), family.version)
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


def cluster_ips(services: Iterable[JsonObject], family: Family = IPV4) -> list[str]:
    """Every ClusterIP of ``family`` in use."""
    return sorted({ip for obj in services for ip in _cluster_ips(obj, family)})


def _cluster_ips(obj: JsonObject, family: Family) -> Iterator[str]:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return
    for text in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        if address := canonical(text, family.version):  # "None": headless
            yield address


def _addresses(obj: JsonObject, family: Family) -> Iterator[str]:
    """ClusterIPs, externalIPs and the load balancer's addresses."""
    cluster = list(_cluster_ips(obj, family))
    yield from cluster
    if not cluster:
        return
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    others = [*((obj.get("spec") or {}).get("externalIPs") or ()), *(entry.get("ip") for entry in ingress)]
    for text in others:
        if address := canonical(text, family.version):
            yield address


def render(
    wanted: Iterable[Target],
    virtual: Iterable[str],
    service_cidr: str,
    family: Family = IPV4,
    outward: Outward | None = None,
) -> str:
    """The whole table; ``virtual`` are the ClusterIPs in use. Adding it first lets the deletion pass when there is none."""
    all_targets = list(wanted)
    served = [target for target in all_targets if target.endpoints]
    unserved = [target for target in all_targets if not target.endpoints]
    addresses = sorted({address for target in served for address, _ in target.endpoints})
    blocks = [
        _set("cluster-ips", family.type, virtual),
        _set("hairpin", f"{family.type} . {family.type}", (f"{ip} . {ip}" for ip in addresses)),
        _set("no-endpoints", f"{family.type} . inet_proto . inet_service", _unique(unserved, "")),
        _set(
            "services",
            f"{family.type} . inet_proto . inet_service : verdict",
            _unique(served, " : goto {chain}"),
            kind="map",
        ),
        *(_chain(target.chain, [_translation(target, family)]) for target in served),
        *_fixed_chains(service_cidr, family, outward),
    ]
    body = "\n".join(blocks)
    table = f"table {family.name} {TABLE}"
    return f"add {table}\ndelete {table}\n{table} {{\n{body}\n}}\n"


def _unique(wanted: Iterable[Target], suffix: str) -> Iterator[str]:
    """Map keys; where two Services claim one door (externalIPs), the first in order has it."""
    seen: set[tuple[str, str, int]] = set()
    for target in wanted:
        for address, port in target.doors:
            key = (address, target.protocol, port)
            if key not in seen:
                seen.add(key)
                yield f"{address} . {target.protocol} . {port}" + suffix.format(chain=target.chain)


def _translation(target: Target, family: Family) -> str:
    count = len(target.endpoints)
    if count == 1:
        address, port = target.endpoints[0]
        return f"meta l4proto {target.protocol} dnat to {family.host(address)}:{port}"
    choice = f"jhash {family.name} saddr mod {count}" if target.sticky else f"numgen random mod {count}"
    pairs = ", ".join(f"{index} : {ip} . {port}" for index, (ip, port) in enumerate(target.endpoints))
    return f"meta l4proto {target.protocol} dnat {family.name} to {choice} map {{ {pairs} }}"


def _set(name: str, kind_of_key: str, elements: Iterable[str], kind: str = "set") -> str:
    listed = ",\n\t\t\t".join(elements)
    content = f"\t\telements = {{\n\t\t\t{listed}\n\t\t}}\n" if listed else ""
    return f"\t{kind} {name} {{\n\t\ttype {kind_of_key}\n{content}\t}}"


def _chain(name: str, rules: Iterable[str]) -> str:
    lines = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"\tchain {name} {{\n{lines}\t}}"


def _fixed_chains(service_cidr: str, family: Family, outward: Outward | None) -> Iterator[str]:
    ip = family.name
    yield _chain("translate", [f"{ip} daddr . meta l4proto . th dport vmap @services"])
    for hook in ("prerouting", "output"):
        yield _chain(f"nat-{hook}", [f"type nat hook {hook} priority -100; policy accept;", "goto translate"])
    # a pod that reaches itself through its Service would get the answer past the translation: only it is masqueraded
    yield _chain(
        "nat-postrouting",
        [
            "type nat hook postrouting priority 100; policy accept;",
            f"ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade",
            *_outward_rules(family, outward),
        ],
    )
    yield _chain(
        "refuse", ["meta l4proto tcp reject with tcp reset", f"reject with {family.port_unreachable}"]
    )
    yield _chain(
        "untranslated",
        [
            f"{ip} daddr . meta l4proto . th dport @no-endpoints goto refuse",
            f"{ip} daddr @cluster-ips goto refuse",
            f"{ip} daddr {service_cidr} reject with {family.host_unreachable}",
        ],
    )
    # before the agent's chains; in output after the translation, which is in the same hook
    for hook, priority in (("input", -110), ("forward", -110), ("output", 0)):
        # a local socket is locked while its first packet is refused and misses the ICMP error, but not a reset
        local = [f"{ip} daddr {service_cidr} goto refuse"] if hook == "output" else []
        yield _chain(
            f"filter-{hook}",
            [f"type filter hook {hook} priority {priority}; policy accept;", *local, "goto untranslated"],
        )


def _outward_rules(family: Family, outward: Outward | None) -> list[str]:
    if outward is None:
        return []
    ip = family.name
    strangers = f"{ip} saddr != {outward.local} {ip} saddr != {outward.address}"
    return [f'ct status dnat oifname "{outward.link}" {strangers} snat to {outward.address}']
