"""Hypothesis strategies: random worlds that use every feature of NetworkPolicy, and flows that are worth asking about.

Out: ``worlds()`` draws a ClusterState, ``flows(state)`` a Flow in it, ``scenarios()`` both. Vocabularies are tiny on
purpose: few labels, addresses and ports, so that selectors match, blocks meet pods and rules overlap often.
``worlds(invalid=False)`` draws only what the API server would accept: what a kernel test may load.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stockade.model.meta import ObjectRef, View
from stockade.model.objects import Pod
from stockade.net.cidr import parse_address
from stockade.policy.verdict import ICMP, AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy

Json = Any

NAMESPACES = ("a", "b", "c")
_CROWDED = ("a", "a", "a", "b", "b", "c")
NODES = {"node-1": ("172.30.0.1", "fd00:30::1"), "node-2": ("172.30.0.2", "fd00:30::2")}
PORTS = (53, 80, 81, 443, 8080)
PORT_NAMES = ("http", "dns", "alt")
PROTOCOLS = ("TCP", "UDP", "SCTP")
OUTSIDE = (
    "93.184.216.34",
    "10.200.0.1",
    "192.0.2.7",
    "192.0.2.8",
    "2001:db8::7",
    "2001:db9::",
    "127.0.0.1",
    "::1",
)
BLOCKS = {
    "0.0.0.0/0": ["10.244.0.0/16", "10.0.0.0/8", "93.184.216.34/32"],
    "10.244.0.0/24": ["10.244.0.0/29", "10.244.0.4/31", "10.244.0.2/32"],
    "10.244.0.2/32": [],
    "172.30.0.0/31": ["172.30.0.1/32"],
    "192.0.2.0/24": ["192.0.2.0/29"],
    "::/0": ["fd00::/16", "2001:db8::/32"],
    "fd00:244::/64": ["fd00:244::2/127"],
}
BAD_BLOCKS: list[Json] = [
    {"cidr": "10.0.0.0"},
    {"cidr": ""},
    {"cidr": "0.0.0.0/0.0.0.0"},
    {"cidr": "10.244.0.0/24", "except": ["192.0.2.0/24"]},
    {"cidr": "10.244.0.0/24", "except": ["10.244.0.0/24"]},
    {"cidr": "0.0.0.0/0", "except": ["fd00::/16"]},
    {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "x"]},
]
BAD_PORTS: list[Json] = [
    {"port": 0},
    {"port": 70000},
    {"port": -1, "endPort": 100},
    {"port": 80, "endPort": 79},
    {"port": 80, "endPort": 70000},
    {"port": "http", "endPort": 90},
    {"endPort": 90},
    {"port": 80, "protocol": "tcp"},
    {"protocol": "ICMP"},
    {"port": 80, "protocol": ""},
    {"port": "80"},
    {"port": "HTTP"},
]
BAD_REQUIREMENTS: list[Json] = [
    {"key": "app", "operator": "Equals", "values": ["x"]},
    {"key": "app", "operator": "NotIn"},
    {"key": "app", "operator": "In", "values": []},
    {"key": "app", "operator": "Exists", "values": ["x"]},
    {"key": "app", "operator": "Gt", "values": ["1"]},
]

labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y", ""]), max_size=2)
_sometimes = st.sampled_from([False, False, False, True])


@st.composite
def _selectors(draw: st.DrawFn, *, invalid: bool) -> Json:
    values = st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=2)
    keys = st.sampled_from(["app", "tier", "kubernetes.io/metadata.name"])
    requirement = st.one_of(
        st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(["In", "NotIn"]), "values": values}),
        st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
    )
    if invalid and draw(_sometimes) and draw(_sometimes):
        requirement = st.sampled_from(BAD_REQUIREMENTS)
    return draw(
        st.one_of(
            st.just({}),
            st.builds(lambda some: {"matchLabels": some}, labels),
            st.builds(lambda one: {"matchExpressions": [one]}, requirement),
            st.builds(
                lambda some, one: {"matchLabels": some, "matchExpressions": [one]}, labels, requirement
            ),
        )
    )


@st.composite
def _blocks(draw: st.DrawFn, *, invalid: bool) -> Json:
    if invalid and draw(_sometimes):
        return draw(st.sampled_from(BAD_BLOCKS))
    cidr = draw(st.sampled_from(sorted(BLOCKS)))
    most = draw(st.sampled_from([1, 2, 2, 0]))
    holes = (
        draw(st.lists(st.sampled_from(BLOCKS[cidr]), min_size=min(1, most), max_size=most))
        if BLOCKS[cidr]
        else []
    )
    return {"cidr": cidr, "except": holes} if holes else {"cidr": cidr}


@st.composite
def _peers(draw: st.DrawFn, *, invalid: bool) -> Json:
    shape = draw(st.sampled_from(["block", "pods", "namespaces", "both", "block"]))
    if shape == "block":
        peer = {"ipBlock": draw(_blocks(invalid=invalid))}
        if invalid and draw(_sometimes):
            peer["podSelector"] = {}
        return peer
    peer = {}
    if shape in {"pods", "both"}:
        peer["podSelector"] = draw(_selectors(invalid=invalid))
    if shape in {"namespaces", "both"}:
        peer["namespaceSelector"] = draw(_selectors(invalid=invalid))
    return {} if invalid and draw(_sometimes) and draw(_sometimes) else peer


@st.composite
def _ports(draw: st.DrawFn, *, invalid: bool) -> Json:
    if invalid and draw(_sometimes):
        return draw(st.sampled_from(BAD_PORTS))
    item: Json = {}
    if draw(st.booleans()):
        item["protocol"] = draw(st.sampled_from(PROTOCOLS))
    shape = draw(st.sampled_from(["number", "number", "name", "range", "all"]))
    if shape == "name":
        item["port"] = draw(st.sampled_from([*PORT_NAMES, "nobody"]))
    elif shape != "all":
        item["port"] = draw(st.sampled_from(PORTS))
    if shape == "range":
        item["endPort"] = draw(st.integers(item["port"], 9000))
    return item


@st.composite
def policies(draw: st.DrawFn, name: str, *, invalid: bool = True) -> View:
    """One NetworkPolicy in one of the namespaces; ``invalid``: also with items the API would refuse."""

    def rules(peers_field: str) -> Json:
        peers = st.lists(_peers(invalid=invalid), min_size=1, max_size=3)
        ports = st.lists(_ports(invalid=invalid), min_size=1, max_size=3)
        full = st.fixed_dictionaries({peers_field: peers, "ports": ports})
        part = st.fixed_dictionaries({peers_field: peers}) | st.fixed_dictionaries({"ports": ports})
        rule = st.one_of(full, full, part, st.sampled_from([{peers_field: [], "ports": []}, {}]))
        some = st.lists(rule, min_size=1, max_size=3)
        return draw(st.one_of(some, some, some, st.sampled_from([None, []])))

    types = [["Ingress", "Egress"], ["Egress"], ["Ingress", "Egress"], ["Ingress"], None, []]
    if invalid:
        types += [["egress"], ["egress", "Ingress"]]
    spec = {
        "podSelector": draw(st.one_of(st.just({}), _selectors(invalid=invalid))),
        "policyTypes": draw(st.sampled_from(types)),
        "ingress": rules("from"),
        "egress": rules("to"),
    }
    return policy(f"{draw(st.sampled_from(_CROWDED))}/{name}", spec)


@st.composite
def pods(draw: st.DrawFn, number: int) -> Pod:
    port = st.fixed_dictionaries(
        {
            "name": st.sampled_from(PORT_NAMES),
            "containerPort": st.sampled_from(PORTS),
            "protocol": st.sampled_from(PROTOCOLS),
        }
    )
    on = draw(st.sampled_from(sorted(NODES)))
    v4, v6 = f"10.244.0.{number}", f"fd00:244::{number:x}"
    if draw(st.integers(0, 19)) == 19:
        v4 = "10.244.0.1"  # contested: the first pod's
    host = draw(st.integers(0, 9)) == 9
    ips = draw(st.sampled_from([(v4, v6), (v4,), (v4, v6), (v4,), (v4, v6), (v6,), ()]))
    if host:
        ips = NODES[on][: draw(st.sampled_from([2, 1, 0]))]
    return pod(
        f"{draw(st.sampled_from(_CROWDED))}/p{number}",
        draw(labels),
        *ips,
        ports=draw(st.lists(port, max_size=3)),
        on=on,
        phase=draw(st.sampled_from(["Running"] * 10 + ["Pending", "Succeeded", "Failed"])),
        host_network=host,
        terminating=draw(st.integers(0, 9)) == 9,
    )


@st.composite
def worlds(draw: st.DrawFn, *, invalid: bool = True) -> ClusterState:
    """Up to three namespaces (some only implied), eight pods on two nodes, six policies."""
    objects: list[View] = [node(name, *ips) for name, ips in NODES.items()]
    objects += [namespace(name, draw(labels)) for name in NAMESPACES if draw(st.booleans())]
    objects += [draw(pods(number)) for number in range(1, draw(st.sampled_from([6, 8, 4, 2])) + 1)]
    count = draw(st.sampled_from([4, 3, 2, 6, 1, 0]))
    objects += [draw(policies(f"np{number}", invalid=invalid)) for number in range(count)]
    return ClusterState.of(objects)


@st.composite
def flows(draw: st.DrawFn, state: ClusterState) -> Flow:
    """Between live pods, addresses of pods and nodes, and hosts outside, in both families."""
    live = sorted(ref for ref, each in state.pods.items() if not each.is_finished)
    texts = sorted({*OUTSIDE, *(ip for ips in NODES.values() for ip in ips)})
    texts += sorted({ip for each in state.pods.values() for ip in each.ips})

    def end(candidates: list[ObjectRef]) -> Endpoint:
        if candidates and draw(st.sampled_from([True, True, True, False])):
            return PodEndpoint(draw(st.sampled_from(candidates)))
        text = draw(st.sampled_from(texts))
        return AddressEndpoint(*parse_address(text), text)

    source = end(live)
    # Mostly somebody else: a pod that talks to itself is a short story.
    destination = end([ref for ref in live if PodEndpoint(ref) != source] or live)
    protocol = draw(st.sampled_from(["TCP", "UDP", "TCP", "SCTP", ICMP]))
    families = {each.family for each in (source, destination) if isinstance(each, AddressEndpoint)}
    return Flow(
        source=source,
        destination=destination,
        protocol=protocol,
        port=None if protocol == ICMP else draw(st.sampled_from([*PORTS, 1, 65535])),
        family=min(families) if families else draw(st.sampled_from([4, 4, 6])),
    )


@st.composite
def scenarios(draw: st.DrawFn, *, invalid: bool = True, size: int = 6) -> tuple[ClusterState, list[Flow]]:
    """A world and ``size`` flows in it."""
    state = draw(worlds(invalid=invalid))
    return state, [draw(flows(state)) for _ in range(size)]
