"""The 230 cases of cyclonus's generator, by group, made from short descriptions of what each group varies.

A case is a list of steps, a step a list of actions; all probes are asked after each step. Every case starts from the cluster of
``world`` and, where it says so, varies one thing of the base policy: pod x/a, ingress on TCP 80 from pods b and c of namespaces x
and y, egress on TCP 80 to pods a and b of y and z, and port 53 to anywhere.

Chosen here, where a description leaves it open. Ports: the 35th shape is the empty list, and which seven pairs make lists of two.
Conflict: each side is one of four stacks (deny all; deny all beside allow all; both by pod; both by address), all sixteen
combinations. Target: two other namespaces and four selectors. Upstream: thirteen rows of the Kubernetes suite. Example: the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import msgspec
from cyclonus.world import BLOCK_24, BLOCK_28

Json = dict[str, Any]
Action = tuple[Any, ...]  # a method of World and its arguments


class Case(msgspec.Struct, frozen=True):
    group: str
    title: str
    steps: list[list[Action]]


def among(key: str, *values: str, operator: str = "In") -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def label(key: str, value: str) -> Json:
    return {"matchLabels": {key: value}}


def tcp(port: int | str) -> Json:
    return {"protocol": "TCP", "port": port}


DNS = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
BASE_PEERS = {
    "ingress": [{"podSelector": among("pod", "b", "c"), "namespaceSelector": among("ns", "x", "y")}],
    "egress": [{"podSelector": among("pod", "a", "b"), "namespaceSelector": among("ns", "y", "z")}],
}
FAR = {"ingress": "from", "egress": "to"}


def policy(name: str, spec: Json, space: str = "x") -> Json:
    types = [word.capitalize() for word in FAR if word in spec]
    spec = {"podSelector": {}, "policyTypes": types, **spec}
    return {"metadata": {"namespace": space, "name": name}, "spec": spec}


def base(*, space: str = "x", **changed: Any) -> Json:
    rules = {way: [{FAR[way]: BASE_PEERS[way], "ports": [tcp(80)]}] for way in FAR}
    spec = {"podSelector": label("pod", "a"), **rules, **changed}
    return policy("base", {**spec, "egress": [*spec["egress"], DNS]}, space)


def create(*policies: Json) -> list[list[Action]]:
    return [[("create_policy", each) for each in policies]]


SINGLE_PEERS: dict[str, Json] = {
    "pods": {"podSelector": {}},
    "pods by label": {"podSelector": label("pod", "b")},
    "all namespaces": {"namespaceSelector": {}},
    "all namespaces, all pods": {"namespaceSelector": {}, "podSelector": {}},
    "all namespaces, pods by label": {"namespaceSelector": {}, "podSelector": label("pod", "b")},
    "namespaces by label": {"namespaceSelector": label("ns", "y")},
    "namespaces by label, all pods": {"namespaceSelector": label("ns", "y"), "podSelector": {}},
    "namespaces and pods by label": {"namespaceSelector": label("ns", "y"), "podSelector": label("pod", "b")},
    "block": {"ipBlock": {"cidr": BLOCK_24}},
    "block with except": {"ipBlock": {"cidr": BLOCK_24, "except": [BLOCK_28]}},
}


def peers() -> Iterator[Case]:
    for way, far in FAR.items():
        lists = [("nobody named", [])]
        lists += [(title, [peer]) for title, peer in SINGLE_PEERS.items()]
        for (one, first), (other, second) in combinations(SINGLE_PEERS.items(), 2):
            lists.append((f"{one} + {other}", [first, second]))
        for title, items in lists:
            rule = {far: items, "ports": [tcp(80)]}
            yield Case("peers", f"{way} {title}", create(base(**{way: [rule]})))


def port_item(protocol: str | None, port: int | str | None, end: int | None = None) -> Json:
    given = {"protocol": protocol, "port": port, "endPort": end}
    return {key: value for key, value in given.items() if value is not None}


PROTOCOLS = ("TCP", "UDP", "SCTP")
PORT_LISTS: list[list[Json]] = [
    [],
    *([port_item(*item)] for item in product((None, *PROTOCOLS), (None, 80, 81))),
    *([port_item(p, f"serve-{number}-{p.lower()}")] for p, number in product(PROTOCOLS, (80, 81))),
    *([port_item(p, 53, end)] for p, end in product(PROTOCOLS, (80, 84))),
    [port_item("TCP", "serve-80-udp")],
    [port_item("TCP", "nobody-serves")],
    [port_item("TCP", 7981)],
    [port_item("TCP", 80), port_item("TCP", 81)],
    [port_item("TCP", 80), port_item("UDP", 80)],
    [port_item("UDP", 81), port_item("SCTP", 81)],
    [port_item("TCP", None), port_item("UDP", 80)],
    [port_item("TCP", "serve-80-tcp"), port_item("SCTP", 81)],
    [port_item("UDP", "serve-81-udp"), port_item("SCTP", "serve-80-sctp")],
    [port_item(None, None), port_item("SCTP", "serve-81-sctp")],
]


def ports() -> Iterator[Case]:
    for way, items in product(FAR, PORT_LISTS):
        rule = {FAR[way]: BASE_PEERS[way], "ports": items}
        title = " + ".join("-".join(str(value) for value in item.values()) or "empty item" for item in items)
        yield Case("ports", f"{way} {title or 'none named'}", create(base(**{way: [rule]})))


def conflict() -> Iterator[Case]:
    """Policies of pod x/b for egress and of y/c for ingress; deny and allow beside each other must allow."""
    never = {"podSelector": label("pod", "nobody"), "namespaceSelector": {}}
    everyone = {"podSelector": {}, "namespaceSelector": {}}
    stacks: dict[str, list[list[Json]]] = {
        "deny all": [[]],
        "deny all, allow all": [[], [{}]],
        "deny by pod, allow by pod": [[never], [everyone]],
        "deny by address, allow by address": [
            [{"ipBlock": {"cidr": "0.0.0.0/31"}}],
            [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
        ],
    }
    sides = {"egress": ("x", label("pod", "b")), "ingress": ("y", label("pod", "c"))}
    for out, into in product(stacks, stacks):
        made = []
        for way, stack in (("egress", stacks[out]), ("ingress", stacks[into])):
            space, subject = sides[way]
            for number, peer_list in enumerate(stack):
                rules = [{} if peer == {} else {FAR[way]: [peer]} for peer in peer_list]
                made.append(policy(f"{way}-{number}", {"podSelector": subject, way: rules}, space))
        yield Case("conflict", f"source {out}; destination {into}", create(*made))


def target() -> Iterator[Case]:
    for space in "yz":
        yield Case("target", f"namespace {space}", create(base(space=space)))
    selectors = {
        "all pods": {},
        "by label": label("pod", "c"),
        "in": among("pod", "a", "b"),
        "not in": among("pod", "a", operator="NotIn"),
    }
    for title, selector in selectors.items():
        yield Case("target", f"pods {title}", create(base(podSelector=selector)))


def action() -> Iterator[Case]:
    deny = policy("base", {"podSelector": label("pod", "a"), "ingress": [], "egress": []})
    start = create(base())
    yield Case("action", "create and delete policy", [*start, [("delete_policy", "x", "base")]])
    yield Case("action", "update policy", [*start, [("update_policy", deny)], [("update_policy", base())]])
    y2 = [("create_namespace", "y-2", {"ns": "y"}), *(("create_pod", "y-2", p, {"pod": p}) for p in "ab")]
    yield Case("action", "create and delete namespace", [*start, y2, [("delete_namespace", "y-2")]])
    away, back = ("set_namespace_labels", "y", {"ns": "other"}), ("set_namespace_labels", "y", {"ns": "y"})
    yield Case("action", "set namespace labels", [*start, [away], [back]])
    made = [("create_pod", "x", "d", {"pod": "b"})]
    yield Case("action", "create and delete pod", [*start, made, [("delete_pod", "x", "d")]])
    away, back = ("set_pod_labels", "y", "b", {"pod": "z"}), ("set_pod_labels", "y", "b", {"pod": "b"})
    yield Case("action", "set pod labels", [*start, [away], [back]])


def rules() -> Iterator[Case]:
    for way, (title, content) in product(FAR, [("deny all", []), ("allow all", [{}])]):
        spec = {"podSelector": label("pod", "a"), way: content}
        yield Case("rules", f"{way} {title}", create(policy("base", spec)))


def default_label() -> Iterator[Case]:
    named = {"namespaceSelector": label("kubernetes.io/metadata.name", "y")}
    for way, far in FAR.items():
        rule = {far: [named], "ports": [tcp(80)]}
        yield Case("namespaces-by-default-label", way, create(base(**{way: [rule]})))


def upstream() -> Iterator[Case]:
    def into_a(*items: Json, ports: list[Json] | None = None) -> Json:
        rule = {"from": list(items)} | ({"ports": ports} if ports else {})
        return policy("p", {"podSelector": label("pod", "a"), "ingress": [rule]})

    not_x, b = among("ns", "x", operator="NotIn"), label("pod", "b")
    y, block = label("ns", "y"), {"cidr": "10.240.0.0/12", "except": ["10.244.1.34/32"]}
    deny_in, allow_in = policy("deny", {"ingress": []}), policy("allow", {"ingress": [{}]})
    out = policy("p", {"egress": [{"to": [{"ipBlock": block}]}], "podSelector": label("pod", "a")})
    to_b = policy("q", {"egress": [{"to": [{"ipBlock": {"cidr": "10.244.1.34/32"}}]}], "podSelector": {}})
    relabel = ("set_namespace_labels", "y", {"ns": "y", "ns2": "updated"})
    cases: dict[str, list[list[Action]]] = {
        "deny all ingress": create(deny_in),
        "from pods of the namespace": create(into_a({"podSelector": b})),
        "from another namespace": create(into_a({"namespaceSelector": y})),
        "from pods or namespaces": create(into_a({"podSelector": b}, {"namespaceSelector": not_x})),
        "from pods and namespaces": create(into_a({"podSelector": b, "namespaceSelector": not_x})),
        "on a port": create(into_a({"namespaceSelector": y}, ports=[tcp(81)])),
        "stacked": [
            *create(into_a({"namespaceSelector": y}, ports=[tcp(81)])),
            *create(policy("q", {"podSelector": label("pod", "a"), "ingress": [{"ports": [tcp(80)]}]})),
        ],
        "allow all beside deny all": create(deny_in, allow_in),
        "on a named port": create(into_a({"namespaceSelector": {}}, ports=[{"port": "serve-81-tcp"}])),
        "updated policy": [*create(allow_in), [("update_policy", policy("allow", {"ingress": []}))]],
        "updated namespace": [*create(into_a({"namespaceSelector": label("ns2", "updated")})), [relabel]],
        "updated pod": [
            *create(into_a({"podSelector": label("pod2", "updated")})),
            [("set_pod_labels", "x", "b", {"pod": "b", "pod2": "updated"})],
        ],
        "an except that another rule allows": [*create(out), *create(to_b)],
    }
    yield from (Case("upstream-e2e", title, steps) for title, steps in cases.items())


def example() -> Iterator[Case]:
    dns_only = policy("out", {"egress": [DNS]}, "y")
    serve = policy("web", {"podSelector": label("pod", "a"), "ingress": [{"ports": [tcp(80)]}]}, "y")
    steps = [
        [("create_policy", policy("deny", {"ingress": []}, "y"))],
        [("create_policy", serve), ("create_policy", dns_only)],
        [("delete_policy", "y", "deny"), ("set_pod_labels", "y", "b", {"pod": "a"})],
        [("delete_pod", "y", "a"), ("create_pod", "y", "a", {"pod": "new"})],
        [("delete_policy", "y", "web"), ("delete_policy", "y", "out")],
    ]
    yield Case("example", "a namespace closes step by step, and opens again", steps)


SIZES = {
    "peers": 112,
    "ports": 70,
    "conflict": 16,
    "upstream-e2e": 13,
    "target": 6,
    "action": 6,
    "rules": 4,
    "namespaces-by-default-label": 2,
    "example": 1,
}
_GROUPS = (peers, ports, conflict, upstream, target, action, rules, default_label, example)
CASES = [case for group in _GROUPS for case in group()]
