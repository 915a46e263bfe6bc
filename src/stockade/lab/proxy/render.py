"""Targets to nftables: which virtual address and port goes to which endpoints, as the text of one table per family. Pure.

In: ``targets.Target`` values. Out: nft text that replaces table ``ip stockade-proxy`` (or ``ip6 …``) in one transaction. Called by
``lab.proxy.proxy``. The shape follows kube-proxy's nftables mode: one verdict map from (address, protocol, port) to a chain
per Service port, which picks an endpoint. The rules of the agent live in another table and see packets after translation
(reference rules 39-44): the pod's address and target port.

What is not translated is refused before any policy chain looks at it, as kube-proxy does: a Service without endpoints says
"connection refused" whatever the policies are (rule 44), and so does an unknown port of a Service's address; an address of
the service range that no Service has is unreachable. Where a traffic policy leaves no endpoint for a packet it is dropped.

A sticky Service has a set of clients for each endpoint, whose elements time out after the last connection. The sets are made anew with the
table: ``Affinities`` are what the kernel had in them, to be put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from stockade.lab.proxy.targets import IPV4, Door, Family, Target

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


class Outward(msgspec.Struct, frozen=True):
    """How this node sends strangers' connections (to a node port) on to another node: as its own ``address``, so that the answer
    comes back here to be translated. Those from ``local`` (its pods) keep their address."""

    link: str
    address: str
    local: str


Affinities = Mapping[str, Iterable[tuple[str, int]]]
"""Clients of each endpoint of sticky Services, by the name of the set: address, and seconds that are left."""


def render(
    wanted: Iterable[Target],
    virtual: Iterable[str],
    service_cidr: str,
    family: Family = IPV4,
    outward: Outward | None = None,
    affinities: Affinities | None = None,
) -> str:
    """The whole table; ``virtual`` are the ClusterIPs in use. Adding it first lets the deletion pass when there is none."""
    all_targets = list(wanted)
    served = [target for target in all_targets if target.endpoints or target.inside]
    dropped = [target for target in all_targets if target.dropped]
    unserved = [target for target in all_targets if target not in served and not target.dropped]
    guarded = [target for target in all_targets if target.guarded and target.ranges]
    addresses = sorted({address for each in served for address, _ in (*each.endpoints, *each.inside)})
    port = f"{family.type} . inet_proto . inet_service"
    blocks = [
        _set("cluster-ips", family.type, virtual),
        _set("hairpin", f"{family.type} . {family.type}", (f"{ip} . {ip}" for ip in addresses)),
        _set("no-endpoints", port, _unique(unserved, "")),
        _set("no-local", port, _unique(dropped, "")),
        _set("guarded", f"{port} : verdict", _guards(guarded), kind="map"),
        _set("services", f"{port} : verdict", _unique(served, " : goto {chain}"), kind="map"),
        *(_guard(target, family) for target in guarded),
        *(block for target in served for block in _service(target, family, affinities or {})),
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


def _guards(wanted: Iterable[Target]) -> Iterator[str]:
    doors = (msgspec.structs.replace(target, doors=target.guarded) for target in wanted)
    return _unique(doors, " : goto guard-{chain}")


def _guard(target: Target, family: Family) -> str:
    """loadBalancerSourceRanges: everybody else is dropped before the translation."""
    return _chain(f"guard-{target.chain}", [f"{family.name} saddr != {{ {', '.join(target.ranges)} }} drop"])


def _service(target: Target, family: Family, affinities: Affinities) -> Iterator[str]:
    """The target's chain, and what it needs, before it."""
    rules: list[str] = []
    if target.inside:
        name = f"{target.chain}/inside"
        yield from _choice(name, target.inside, target, family, affinities)
        # the node itself, and pods whichever node they are on: they find any endpoint, with their own address
        rules = [
            f"{family.name} saddr {family.cluster} goto {name}",
            f"fib saddr type local goto {name}",
        ]
    yield from _choice(target.chain, target.endpoints, target, family, affinities, rules)


def _choice(
    name: str,
    endpoints: tuple[Door, ...],
    target: Target,
    family: Family,
    affinities: Affinities,
    before: Iterable[str] = (),
) -> Iterator[str]:
    if not target.sticky or len(endpoints) < 2:
        yield _chain(
            name, [*before, *([_translation(endpoints, target.protocol, family)] if endpoints else [])]
        )
        return
    named = [(_endpoint_name(name, endpoint), endpoint) for endpoint in endpoints]
    for each, endpoint in named:
        yield _clients(each, target.sticky, family, affinities.get(each, ()))
        remember = f"update @{each} {{ {family.name} saddr }}"
        yield _chain(each, [remember, _translation((endpoint,), target.protocol, family)])
    known = [f"{family.name} saddr @{each} goto {each}" for each, _ in named]
    pairs = ", ".join(f"{index} : goto {each}" for index, (each, _) in enumerate(named))
    yield _chain(name, [*before, *known, f"numgen random mod {len(named)} vmap {{ {pairs} }}"])


def _endpoint_name(chain: str, endpoint: Door) -> str:
    """Of the chain, and of the set of its clients."""
    return f"{chain}/{endpoint[0].replace(':', '-')}/{endpoint[1]}"


def _clients(name: str, seconds: int, family: Family, known: Iterable[tuple[str, int]]) -> str:
    elements = [
        f"{client} timeout {seconds}s expires {min(left, seconds)}s" for client, left in known if left > 0
    ]
    listed = f"\t\telements = {{ {', '.join(elements)} }}\n" if elements else ""
    return f"\tset {name} {{\n\t\ttype {family.type}\n\t\tsize 65536\n\t\tflags dynamic,timeout\n\t\ttimeout {seconds}s\n{listed}\t}}"


def _translation(endpoints: tuple[Door, ...], protocol: str, family: Family) -> str:
    count = len(endpoints)
    if count == 1:
        address, port = endpoints[0]
        return f"meta l4proto {protocol} dnat to {family.host(address)}:{port}"
    pairs = ", ".join(f"{index} : {ip} . {port}" for index, (ip, port) in enumerate(endpoints))
    return f"meta l4proto {protocol} dnat {family.name} to numgen random mod {count} map {{ {pairs} }}"


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
    for hook in ("prerouting", "output"):
        guard = f"{ip} daddr . meta l4proto . th dport vmap @guarded"
        yield _chain(f"guard-{hook}", [f"type filter hook {hook} priority -110; policy accept;", guard])
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
            f"{ip} daddr . meta l4proto . th dport @no-local drop",
            f"{ip} daddr . meta l4proto . th dport @no-endpoints goto refuse",
            f"{ip} daddr @cluster-ips goto refuse",
            f"{ip} daddr {service_cidr} reject with {family.host_unreachable}",
        ],
    )
    # before the agent's chains; in output after the translation, which is in the same hook
    for hook, priority in (("input", -110), ("forward", -110), ("output", 0)):
        # a local socket is locked while its first packet is refused and misses the ICMP error, but not a reset
        dropped = f"{ip} daddr . meta l4proto . th dport @no-local drop"
        local = [dropped, f"{ip} daddr {service_cidr} goto refuse"] if hook == "output" else []
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
