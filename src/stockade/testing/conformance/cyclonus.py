"""The 230 cases of cyclonus's generator, by group, made from short descriptions of what each group varies.

A case is a list of steps, a step a list of actions; all probes are asked after each step. Every case starts from the cluster of
``world`` and, where it says so, varies one thing of the base policy: pod x/a, ingress on TCP 80 from pods b and c of namespaces x
and y, egress on TCP 80 to pods a and b of y and z, and port 53 to anywhere.

Chosen here, where a description leaves it open. Ports: the 35th shape is the empty list, and which seven pairs make lists of two.
Conflict: each side is one of four stacks (deny all; deny all beside allow all; both by pod; both by address), all sixteen combinations.
Target: two other namespaces and four selectors. Upstream: thirteen rows of the Kubernetes suite, where egress is limited with a rule for lookups (the suite's --allow-dns). Example: the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from itertools import combinations, product

from stockade.testing.conformance.case import Action, Case, Json, Name, Step, among, label

Addresses = Mapping[Name, str]
Draft = tuple[str, str, list[list[Action]]]  # group, title, steps


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


def base(changed: Json | None = None, *, space: str = "x") -> Json:
    rules = {way: [{FAR[way]: BASE_PEERS[way], "ports": [tcp(80)]}] for way in FAR}
    spec: Json = {"podSelector": label("pod", "a"), **rules, **(changed or {})}
    return policy("base", {**spec, "egress": [*spec["egress"], DNS]}, space)


def create(*policies: Json) -> list[list[Action]]:
    return [[("create_policy", each) for each in policies]]


def block(address: str, length: int) -> str:
    return str(ip_network(f"{address}/{length}", strict=False))


SELECTOR_PEERS: dict[str, Json] = {
    "pods": {"podSelector": {}},
    "pods by label": {"podSelector": label("pod", "b")},
    "all namespaces": {"namespaceSelector": {}},
    "all namespaces, all pods": {"namespaceSelector": {}, "podSelector": {}},
    "all namespaces, pods by label": {"namespaceSelector": {}, "podSelector": label("pod", "b")},
    "namespaces by label": {"namespaceSelector": label("ns", "y")},
    "namespaces by label, all pods": {"namespaceSelector": label("ns", "y"), "podSelector": {}},
    "namespaces and pods by label": {"namespaceSelector": label("ns", "y"), "podSelector": label("pod", "b")},
}


def peers(addresses: Addresses) -> Iterator[Draft]:
    whole, part = block(addresses["z", "c"], 24), block(addresses["z", "c"], 28)
    single = {
        **SELECTOR_PEERS,
        "block": {"ipBlock": {"cidr": whole}},
        "block with except": {"ipBlock": {"cidr": whole, "except": [part]}},
    }
    for way, far in FAR.items():
        lists: list[tuple[str, list[Json]]] = [("nobody named", [])]
        lists += [(title, [peer]) for title, peer in single.items()]
        for (one, first), (other, second) in combinations(single.items(), 2):
            lists.append((f"{one} + {other}", [first, second]))
        for title, items in lists:
            rule = {far: items, "ports": [tcp(80)]}
            yield ("peers", f"{way} {title}", create(base({way: [rule]})))


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


def ports() -> Iterator[Draft]:
    for way, items in product(FAR, PORT_LISTS):
        rule = {FAR[way]: BASE_PEERS[way], "ports": items}
        title = " + ".join("-".join(str(value) for value in item.values()) or "empty item" for item in items)
        yield ("ports", f"{way} {title or 'none named'}", create(base({way: [rule]})))


def conflict() -> Iterator[Draft]:
    """Policies of pod x/b for egress and of y/c for ingress; deny and allow beside each other must allow."""
    never = {"podSelector": label("pod", "nobody"), "namespaceSelector": {}}
    everyone: Json = {"podSelector": {}, "namespaceSelector": {}}
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
        yield ("conflict", f"source {out}; destination {into}", create(*made))


def target() -> Iterator[Draft]:
    for space in "yz":
        yield ("target", f"namespace {space}", create(base(space=space)))
    selectors = {
        "all pods": {},
        "by label": label("pod", "c"),
        "in": among("pod", "a", "b"),
        "not in": among("pod", "a", operator="NotIn"),
    }
    for title, selector in selectors.items():
        yield ("target", f"pods {title}", create(base({"podSelector": selector})))


def action() -> Iterator[Draft]:
    deny = policy("base", {"podSelector": label("pod", "a"), "ingress": [], "egress": []})
    start = create(base())
    yield ("action", "create and delete policy", [*start, [("delete_policy", "x", "base")]])
    yield ("action", "update policy", [*start, [("update_policy", deny)], [("update_policy", base())]])
    y2 = [("create_namespace", "y-2", {"ns": "y"}), *(("create_pod", "y-2", p, {"pod": p}) for p in "ab")]
    yield ("action", "create and delete namespace", [*start, y2, [("delete_namespace", "y-2")]])
    away, back = ("set_namespace_labels", "y", {"ns": "other"}), ("set_namespace_labels", "y", {"ns": "y"})
    yield ("action", "set namespace labels", [*start, [away], [back]])
    also_d = {"podSelector": among("pod", "b", "d"), "namespaceSelector": among("ns", "x", "y")}
    made = [("create_pod", "x", "d", {"pod": "d"})]
    start = create(base({"ingress": [{"from": [also_d], "ports": [tcp(80)]}]}))
    yield ("action", "create and delete pod", [*start, made, [("delete_pod", "x", "d")]])
    fresh = {"podSelector": label("is", "new"), "namespaceSelector": among("ns", "y", "z")}
    start = create(base({"egress": [{"to": [fresh], "ports": [tcp(80)]}]}))
    relabel: list[list[Action]] = [
        [("set_pod_labels", "y", "b", labels)] for labels in ({"pod": "b", "is": "new"}, {"pod": "b"})
    ]
    yield ("action", "set pod labels", [*start, *relabel])


def rules() -> Iterator[Draft]:
    kinds: list[tuple[str, list[Json]]] = [("deny all", []), ("allow all", [{}])]
    for way, (title, content) in product(FAR, kinds):
        spec = {"podSelector": label("pod", "a"), way: content}
        yield ("rules", f"{way} {title}", create(policy("base", spec)))


def default_label() -> Iterator[Draft]:
    named = {"namespaceSelector": label("kubernetes.io/metadata.name", "y")}
    for way, far in FAR.items():
        rule = {far: [named], "ports": [tcp(80)]}
        yield ("namespaces-by-default-label", way, create(base({way: [rule]})))


def upstream(addresses: Addresses) -> Iterator[Draft]:
    def into_a(*items: Json, ports: list[Json] | None = None) -> Json:
        rule = {"from": list(items)} | ({"ports": ports} if ports else {})
        return policy("p", {"podSelector": label("pod", "a"), "ingress": [rule]})

    not_x, b = among("ns", "x", operator="NotIn"), label("pod", "b")
    y, alone = label("ns", "y"), f"{addresses['y', 'b']}/32"
    around = {"cidr": block(addresses["y", "b"], 12), "except": [alone]}
    deny_in, allow_in = policy("deny", {"ingress": []}), policy("allow", {"ingress": [{}]})
    out = policy("p", {"egress": [{"to": [{"ipBlock": around}]}, DNS], "podSelector": label("pod", "a")})
    to_b = policy("q", {"egress": [{"to": [{"ipBlock": {"cidr": alone}}]}, DNS], "podSelector": {}})
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
    yield from (("upstream-e2e", title, steps) for title, steps in cases.items())


def example() -> Iterator[Draft]:
    """Pods keep their label ``pod``: the Services of the suite select by it."""
    dns_only = policy("out", {"egress": [DNS]}, "y")
    serve = policy("web", {"podSelector": label("tier", "web"), "ingress": [{"ports": [tcp(80)]}]}, "y")
    web = [("set_pod_labels", "y", name, {"pod": name, "tier": "web"}) for name in "ab"]
    steps: list[list[Action]] = [
        [("create_policy", policy("deny", {"ingress": []}, "y"))],
        [("create_policy", serve), ("create_policy", dns_only), web[0]],
        [("delete_policy", "y", "deny"), web[1]],
        [("delete_pod", "y", "a"), ("create_pod", "y", "a", {"pod": "a"})],
        [("delete_policy", "y", "web"), ("delete_policy", "y", "out")],
    ]
    yield ("example", "a namespace closes step by step, and opens again", steps)


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


def cases(addresses: Addresses) -> list[Case]:
    """``addresses`` of the nine pods: blocks are made of those of y/b and z/c."""
    drafts = [
        *peers(addresses),
        *ports(),
        *conflict(),
        *upstream(addresses),
        *target(),
        *action(),
        *rules(),
        *default_label(),
        *example(),
    ]
    return [
        Case("cyclonus", number, group, title, [Step(actions) for actions in steps])
        for number, (group, title, steps) in enumerate(drafts, 1)
    ]
