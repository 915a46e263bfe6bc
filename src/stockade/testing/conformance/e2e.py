"""The 48 cases of the Kubernetes end-to-end suite "Netpol" (sig-network), step by step, with what each asserts.

What must not connect is written down from the upstream tests' own assertions, not computed. A case's number is the row of the upstream
table; pods talk to each other in namespaces x, y, z; pairs of a pod with itself are not asserted, as upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from itertools import starmap

from stockade.testing.conformance.case import Action, Case, Denied, Json, Name, Step, among, label

Probes = Mapping[str, Denied]
Row = tuple[str, list[Step]]

NS = "kubernetes.io/metadata.name"
A, B, C = (label("pod", name) for name in "abc")
IN_Y = {"namespaceSelector": label(NS, "y")}
NOT_X = {"namespaceSelector": among(NS, "x", operator="NotIn")}
TCP80, TCP81 = ({"port": port, "protocol": "TCP"} for port in (80, 81))
TYPES = {"i": ["Ingress"], "e": ["Egress"], "ie": ["Ingress", "Egress"]}
OPEN = "y/", "z/"


def np(name: str, types: str, subject: Json | None = None, **rules: list[Json]) -> Json:
    """``name`` is ``namespace/name``; ``types`` the first letters of the policyTypes."""
    space, _, short = name.partition("/")
    spec = {"podSelector": subject or {}, "policyTypes": TYPES[types], **rules}
    return {"metadata": {"namespace": space, "name": short}, "spec": spec}


def create(*policies: Json) -> list[Action]:
    return [("create_policy", each) for each in policies]


def never(_source: str, _destination: str) -> bool:
    return False


def into(*targets: str, unless: tuple[str, ...] = ()) -> Denied:
    """Nobody reaches the targets (prefixes of namespace/pod) but the sources with one of the prefixes."""
    return lambda source, destination: (
        destination.startswith(targets) and not source.startswith(unless or ("-",))
    )


def out_of(*subjects: str, unless: tuple[str, ...] = ()) -> Denied:
    return lambda source, destination: (
        source.startswith(subjects) and not destination.startswith(unless or ("-",))
    )


def either(*rules: Denied) -> Denied:
    return lambda source, destination: any(rule(source, destination) for rule in rules)


def once(*policies: Json, **probes: Denied) -> list[Step]:
    """One step; ``tcp80=…`` is the probe TCP 80."""
    return [Step(create(*policies), named(probes))]


def named(probes: Probes) -> Probes:
    return {f"{name[:-2].upper()} {name[-2:]}": denied for name, denied in probes.items()}


def into_a(*peers: Json, ports: list[Json] | None = None) -> Json:
    rule: Json = ({"from": list(peers)} if peers else {}) | ({"ports": ports} if ports else {})
    return np("x/p", "i", A, ingress=[rule])


def only_from(*sources: str, peers: list[Json]) -> list[Step]:
    return once(into_a(*peers), tcp80=into("x/a", unless=sources))


DENY_IN, DENY_OUT = np("x/deny-in", "i", ingress=[]), np("x/deny-out", "e", egress=[])
ALLOW_IN = np("x/all", "i", ingress=[{}])


def ingress() -> list[Row]:
    """Rows 1-18."""
    from_y = into("x/a", unless=("y/",))
    pods_bc = {"podSelector": among("pod", "b", "c")}
    stacked = np("x/q", "i", A, ingress=[{"from": [IN_Y], "ports": [TCP80]}])
    return [
        ("default deny ingress", once(DENY_IN, tcp80=into("x/"))),
        ("default deny all", once(np("x/p", "ie"), tcp80=either(into("x/"), out_of("x/")))),
        ("a pod selector", only_from("x/b", peers=[{"podSelector": B}])),
        (
            "allow for one target",
            once(DENY_IN, np("x/p", "i", A, ingress=[{}]), tcp80=into("x/b", "x/c")),
        ),
        ("all namespaces", only_from("x/", "y/", "z/", peers=[{"namespaceSelector": {}}])),
        ("another namespace", only_from("y/", peers=[IN_Y])),
        ("pod expressions", only_from("x/b", peers=[{"podSelector": among("pod", "b")}])),
        ("namespace expressions", only_from("y/", peers=[{"namespaceSelector": among(NS, "y")}])),
        ("pods or namespaces", only_from(*OPEN, "x/b", peers=[NOT_X, {"podSelector": B}])),
        ("pods and namespaces", only_from("y/b", "z/b", peers=[NOT_X | {"podSelector": B}])),
        ("several pods and namespaces", only_from("y/b", "y/c", "z/b", "z/c", peers=[NOT_X | pods_bc])),
        ("any of two selectors", only_from("x/b", "x/c", peers=[{"podSelector": B}, {"podSelector": C}])),
        ("a pod of another namespace", only_from("y/a", peers=[IN_Y | {"podSelector": A}])),
        ("ports", once(into_a(IN_Y, ports=[TCP81]), tcp81=from_y, tcp80=into("x/a"))),
        (
            "stacked policies",
            [
                *once(into_a(IN_Y, ports=[TCP81]), tcp80=into("x/a"), tcp81=from_y),
                *once(stacked, tcp80=from_y, tcp81=from_y),
            ],
        ),
        ("allow all", once(ALLOW_IN, tcp80=never, tcp81=never)),
        (
            "a named port",
            once(into_a(ports=[{"port": "serve-81-tcp"}]), tcp81=never, tcp80=into("x/a"), udp81=into("x/a")),
        ),
        (
            "a namespace on a named port",
            once(into_a(IN_Y, ports=[{"port": "serve-80-tcp"}]), tcp80=from_y, tcp81=into("x/a")),
        ),
    ]


def changes() -> list[Row]:
    """Rows 19-26."""
    named_out = np("x/p", "e", egress=[{"ports": [{"port": "serve-80-tcp"}]}])
    to_y, to_b = {"ns2": "updated"}, {"pod": "b", "pod2": "updated"}
    isolated = np("x/p", "i", label("target", "isolated"), ingress=[])
    return [
        ("egress on a named port", once(named_out, tcp80=never, tcp81=out_of("x/"))),
        (
            "an updated policy",
            [
                *once(ALLOW_IN, tcp81=never),
                Step(
                    [("update_policy", np("x/all", "i", ingress=[]))],
                    named({"tcp80": into("x/"), "tcp81": into("x/")}),
                ),
            ],
        ),
        (
            "an updated namespace",
            [
                *only_from(peers=[{"namespaceSelector": {"matchLabels": to_y}}]),
                Step([("set_namespace_labels", "y", to_y)], {"TCP 80": into("x/a", unless=("y/",))}),
            ],
        ),
        (
            "an updated pod",
            [
                *only_from(peers=[{"podSelector": label("pod2", "updated")}]),
                Step([("set_pod_labels", "x", "b", to_b)], {"TCP 80": into("x/a", unless=("x/b",))}),
            ],
        ),
        (
            "pods of other namespaces are denied",
            once(np("x/p", "i", ingress=[{"from": [{"podSelector": {}}]}]), tcp80=into("x/", unless=("x/",))),
        ),
        (
            "an updated target",
            [
                *once(isolated, tcp80=never),
                Step(
                    [("set_pod_labels", "x", "a", {"pod": "a", "target": "isolated"})],
                    {"TCP 80": into("x/a")},
                ),
            ],
        ),
        ("no egress of one pod", once(np("x/p", "e", A, egress=[]), tcp80=out_of("x/a"))),
        ("no egress of a namespace", once(DENY_OUT, tcp80=out_of("x/"))),
    ]


def directions() -> list[Row]:
    """Rows 27-33."""
    both = np("x/p", "ie", A, ingress=[{"from": [{"podSelector": B}]}], egress=[{"ports": [TCP80]}])
    from_b = into("x/a", unless=("x/b",))
    to_one = np("x/out", "e", A, egress=[{"to": [IN_Y | {"podSelector": A}]}])
    only_ya = out_of("x/a", unless=("y/a",))
    any_tcp = into_a(ports=[{"protocol": "TCP"}])
    in80, out80 = np("x/p", "i", ingress=[{"ports": [TCP80]}]), np("x/p", "e", egress=[{"ports": [TCP80]}])
    all_out = np("x/all", "e", egress=[{}])
    lifted: list[Action] = [("delete_policy", "x", "deny-in")]
    return [
        ("both directions in one policy", once(both, tcp80=from_b, tcp81=either(from_b, out_of("x/a")))),
        (
            "the client's side denies what the server allows",
            once(to_one, np("y/in", "i", A, ingress=[{}]), np("y/b", "i", B, ingress=[{}]), tcp80=only_ya),
        ),
        ("egress to a server elsewhere", once(to_one, tcp80=only_ya)),
        ("every port of one protocol", once(any_tcp, tcp80=never, tcp81=never, udp80=into("x/a"))),
        (
            "allow all ingress wins",
            [
                *once(in80, tcp80=never, tcp81=into("x/")),
                *once(ALLOW_IN, tcp80=never, tcp81=never),
            ],
        ),
        (
            "allow all egress wins",
            [
                *once(out80, tcp80=never, tcp81=out_of("x/")),
                *once(all_out, tcp80=never, tcp81=never),
            ],
        ),
        (
            "a deleted policy is no longer enforced",
            [*once(DENY_IN, tcp80=into("x/")), Step(lifted, named({"tcp80": never, "udp81": never}))],
        ),
    ]


def blocks(address: str) -> list[Row]:
    """Rows 34-37. ``address`` is that of y/b."""
    alone = {"ipBlock": {"cidr": f"{address}/32"}}
    around = {"ipBlock": {"cidr": str(ip_network(f"{address}/4", strict=False)), "except": [f"{address}/32"]}}

    def to(peer: Json) -> Json:
        return np("x/p", "e", A, egress=[{"to": [peer]}])

    def to_b(source: str, destination: str) -> bool:
        return (source, destination) == ("x/a", "y/b")

    return [
        ("egress to a block", once(to(alone), tcp80=out_of("x/a", unless=("y/b",)))),
        ("egress to a block with an except", once(to(around), tcp80=to_b)),
        (
            "what one block excepts another allows",
            [
                *once(to(around), tcp80=to_b),
                Step(
                    [("update_policy", np("x/p", "e", A, egress=[{"to": [around]}, {"to": [alone]}]))],
                    {"TCP 80": never},
                ),
            ],
        ),
        (
            "directions are controlled independently",
            once(np("x/out", "e", A, egress=[{}]), np("x/in", "i", A, ingress=[]), tcp80=into("x/a")),
        ),
    ]


def protocols() -> list[Row]:
    """Rows 38-42."""
    sctp81, sctp80 = (
        into_a(ports=[{"port": 81, "protocol": "SCTP"}]),
        into_a(ports=[{"port": 80, "protocol": "SCTP"}]),
    )
    udp81 = into_a(ports=[{"port": 81, "protocol": "UDP"}])
    not_y = np("x/p", "e", A, egress=[{"to": [{"namespaceSelector": among(NS, "y", operator="NotIn")}]}])
    return [
        ("SCTP is not taken for TCP", once(DENY_IN, sctp81, tcp81=into("x/"), sctp81=into("x/b", "x/c"))),
        ("an SCTP rule isolates", once(sctp80, tcp80=into("x/a"), tcp81=into("x/a"), sctp80=never)),
        ("UDP does not open TCP", once(udp81, tcp81=into("x/a"), udp81=never)),
        ("the default namespace label", only_from("y/", peers=[IN_Y])),
        (
            "the default namespace label in an expression",
            once(not_y, tcp80=out_of("x/a", unless=("x/", "z/"))),
        ),
    ]


def alike(protocol: str) -> list[Row]:
    """Rows 43-45 for UDP, 46-48 for SCTP."""
    on80, on81 = ([{"port": port, "protocol": protocol}] for port in (80, 81))
    from_y, from_ya = into("x/a", unless=("y/",)), into("x/a", unless=("y/a",))
    rows: list[tuple[str, Json, Probes]] = [
        ("default deny ingress", DENY_IN, {f"{protocol} 80": into("x/")}),
        ("ports", into_a(IN_Y, ports=on81), {f"{protocol} 81": from_y, f"{protocol} 80": into("x/a")}),
        (
            "a pod of another namespace",
            into_a(IN_Y | {"podSelector": A}, ports=on80),
            {f"{protocol} 80": from_ya, "TCP 80": into("x/a")},
        ),
    ]
    return [(f"{protocol}: {title}", [Step(create(policy), probes)]) for title, policy, probes in rows]


def cases(addresses: Mapping[Name, str]) -> list[Case]:
    """``addresses`` of the pods: some blocks are made of that of y/b."""
    rows = [
        *ingress(),
        *changes(),
        *directions(),
        *blocks(addresses["y", "b"]),
        *protocols(),
        *alike("UDP"),
        *alike("SCTP"),
    ]
    return list(starmap(lambda number, row: Case("e2e", number, "", *row), enumerate(rows, 1)))
