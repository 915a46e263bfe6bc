"""The 48 policy cases of the Kubernetes conformance suite ("Netpol"), re-expressed as data.

World: namespaces x, y, z with pods a, b, c, each serving 80 and 81 by TCP, UDP and SCTP under port names. A case is a
set of policies, perhaps relabelled objects, and for each probe the pairs that must not connect. Pairs of a pod with
itself are not asked, as upstream. The number is the row of the upstream table; 20 and 36 appear as before and after.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.store.state import ClusterState
from stockade.testing.ask import flow
from stockade.testing.build import namespace, pod, policy
from stockade.testing.worlds import nine_pods

PODS = [f"{space}/{name}" for space in "xyz" for name in "abc"]
Denied = Callable[[str, str], bool]


class Case(msgspec.Struct, kw_only=True):
    title: str
    policies: list
    probes: dict[str, Denied]  # "TCP 80" -> is the pair (source, destination) denied?
    relabelled: list = []


def np(name: str, types: str, subject: dict | None = None, **spec):
    wanted = {"i": ["Ingress"], "e": ["Egress"], "ie": ["Ingress", "Egress"]}[types]
    return policy(name, {"podSelector": subject or {}, "policyTypes": wanted, **spec})


def one(name: str) -> dict:
    return {"matchLabels": {"pod": name}}


def among(key: str, operator: str, *values: str) -> dict:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


NS = "kubernetes.io/metadata.name"
A = one("a")
NS_X, NS_Y, NS_Z = ({"matchLabels": {NS: name}} for name in "xyz")
NOT_X = among(NS, "NotIn", "x")
TCP80, TCP81 = {"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}


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


def only_from(peers: list[dict], *sources: str, **ports) -> tuple[list, dict[str, Denied]]:
    return [np("x/p", "i", A, ingress=[{"from": peers, **ports}])], {"TCP 80": into("x/a", unless=sources)}


def pair(peers: list[dict], *sources: str) -> dict:
    policies, probes = only_from(peers, *sources)
    return {"policies": policies, "probes": probes}


BLOCK_B = {"ipBlock": {"cidr": "10.244.1.2/32"}}
EXCEPT_B = {"ipBlock": {"cidr": "10.244.1.0/24", "except": ["10.244.1.2/32"]}}
DENY_IN, DENY_OUT = np("x/deny-in", "i"), np("x/deny-out", "e")


def protocol_cases(start: int, protocol: str) -> list[tuple[int, Case]]:
    port = {"port": 81, "protocol": protocol}
    ports = [np("x/p", "i", A, ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [port]}])]
    both = [{"namespaceSelector": NS_Y, "podSelector": A}]
    return [
        (
            start,
            Case(title=f"{protocol} default deny", policies=[DENY_IN], probes={f"{protocol} 80": into("x/")}),
        ),
        (
            start + 1,
            Case(
                title=f"{protocol} ports",
                policies=ports,
                probes={f"{protocol} 81": into("x/a", unless=("y/",)), f"{protocol} 80": into("x/a")},
            ),
        ),
        (
            start + 2,
            Case(
                title=f"{protocol} pod and namespace selector",
                policies=[
                    np("x/p", "i", A, ingress=[{"from": both, "ports": [{"port": 80, "protocol": protocol}]}])
                ],
                probes={f"{protocol} 80": into("x/a", unless=("y/a",)), "TCP 80": into("x/a")},
            ),
        ),
    ]


CASES: list[tuple[int, Case]] = [
    (1, Case(title="default deny ingress", policies=[DENY_IN], probes={"TCP 80": into("x/")})),
    (
        2,
        Case(
            title="default deny all",
            policies=[np("x/p", "ie")],
            probes={"TCP 80": either(into("x/"), out_of("x/"))},
        ),
    ),
    (3, Case(title="pod selector", **pair([{"podSelector": one("b")}], "x/b"))),
    (
        4,
        Case(
            title="allow for one target",
            policies=[DENY_IN, np("x/allow", "i", A, ingress=[{}])],
            probes={"TCP 80": into("x/b", "x/c")},
        ),
    ),
    (5, Case(title="all namespaces", **pair([{"namespaceSelector": {}}], "x", "y", "z"))),
    (6, Case(title="another namespace", **pair([{"namespaceSelector": NS_Y}], "y/"))),
    (7, Case(title="pod expressions", **pair([{"podSelector": among("pod", "In", "b")}], "x/b"))),
    (8, Case(title="namespace expressions", **pair([{"namespaceSelector": among(NS, "In", "y")}], "y/"))),
    (
        9,
        Case(
            title="pods or namespaces",
            **pair([{"namespaceSelector": NOT_X}, {"podSelector": one("b")}], "y/", "z/", "x/b"),
        ),
    ),
    (
        10,
        Case(
            title="pods and namespaces",
            **pair([{"namespaceSelector": NOT_X, "podSelector": one("b")}], "y/b", "z/b"),
        ),
    ),
    (
        11,
        Case(
            title="several pods and namespaces",
            **pair(
                [{"namespaceSelector": NOT_X, "podSelector": among("pod", "In", "b", "c")}],
                "y/b",
                "y/c",
                "z/b",
                "z/c",
            ),
        ),
    ),
    (
        12,
        Case(
            title="any of two selectors",
            **pair([{"podSelector": one("b")}, {"podSelector": one("c")}], "x/b", "x/c"),
        ),
    ),
    (
        13,
        Case(
            title="a pod of another namespace", **pair([{"namespaceSelector": NS_Y, "podSelector": A}], "y/a")
        ),
    ),
    (
        14,
        Case(
            title="ports",
            policies=[np("x/p", "i", A, ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [TCP81]}])],
            probes={"TCP 81": into("x/a", unless=("y/",)), "TCP 80": into("x/a")},
        ),
    ),
    (
        15,
        Case(
            title="stacked policies, first",
            policies=[np("x/p", "i", A, ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [TCP81]}])],
            probes={"TCP 80": into("x/a"), "TCP 81": into("x/a", unless=("y/",))},
        ),
    ),
    (
        15,
        Case(
            title="stacked policies, both",
            policies=[
                np("x/p", "i", A, ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [TCP81]}]),
                np("x/q", "i", A, ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [TCP80]}]),
            ],
            probes={"TCP 80": into("x/a", unless=("y/",)), "TCP 81": into("x/a", unless=("y/",))},
        ),
    ),
    (
        16,
        Case(
            title="allow all",
            policies=[np("x/p", "i", ingress=[{}])],
            probes={"TCP 80": never, "TCP 81": never},
        ),
    ),
    (
        17,
        Case(
            title="a named port",
            policies=[np("x/p", "i", A, ingress=[{"ports": [{"port": "serve-81-tcp"}]}])],
            probes={"TCP 81": never, "TCP 80": into("x/a"), "UDP 81": into("x/a")},
        ),
    ),
    (
        18,
        Case(
            title="a namespace on a named port",
            policies=[
                np(
                    "x/p",
                    "i",
                    A,
                    ingress=[{"from": [{"namespaceSelector": NS_Y}], "ports": [{"port": "serve-80-tcp"}]}],
                )
            ],
            probes={"TCP 80": into("x/a", unless=("y/",)), "TCP 81": into("x/a")},
        ),
    ),
    (
        19,
        Case(
            title="egress on a named port",
            policies=[np("x/p", "e", egress=[{"ports": [{"port": "serve-80-tcp"}]}])],
            probes={"TCP 80": never, "TCP 81": out_of("x/")},
        ),
    ),
    (20, Case(title="before the update", policies=[np("x/p", "i", ingress=[{}])], probes={"TCP 81": never})),
    (
        20,
        Case(title="after the update", policies=[np("x/p", "i", ingress=[])], probes={"TCP 81": into("x/")}),
    ),
    (
        21,
        Case(
            title="an updated namespace",
            policies=only_from([{"namespaceSelector": {"matchLabels": {"ns2": "updated"}}}])[0],
            probes={"TCP 80": into("x/a", unless=("y/",))},
            relabelled=[namespace("y", {"ns2": "updated"})],
        ),
    ),
    (
        22,
        Case(
            title="an updated pod",
            policies=only_from([{"podSelector": {"matchLabels": {"pod2": "updated"}}}])[0],
            probes={"TCP 80": into("x/a", unless=("x/b",))},
            relabelled=[pod("x/b", {"pod": "b", "pod2": "updated"}, "10.244.0.2")],
        ),
    ),
    (
        23,
        Case(
            title="pods of other namespaces are denied",
            policies=[np("x/p", "i", ingress=[{"from": [{"podSelector": {}}]}])],
            probes={"TCP 80": into("x/", unless=("x/",))},
        ),
    ),
    (
        24,
        Case(
            title="an updated target",
            policies=[np("x/p", "i", {"matchLabels": {"target": "isolated"}})],
            probes={"TCP 80": into("x/a")},
            relabelled=[pod("x/a", {"pod": "a", "target": "isolated"}, "10.244.0.1")],
        ),
    ),
    (25, Case(title="no egress of one pod", policies=[np("x/p", "e", A)], probes={"TCP 80": out_of("x/a")})),
    (26, Case(title="no egress of a namespace", policies=[DENY_OUT], probes={"TCP 80": out_of("x/")})),
    (
        27,
        Case(
            title="both directions in one policy",
            policies=[
                np(
                    "x/p",
                    "ie",
                    A,
                    ingress=[{"from": [{"podSelector": one("b")}]}],
                    egress=[{"ports": [TCP80]}],
                )
            ],
            probes={
                "TCP 80": into("x/a", unless=("x/b",)),
                "TCP 81": either(into("x/a", unless=("x/b",)), out_of("x/a")),
            },
        ),
    ),
    (
        28,
        Case(
            title="the client's side denies what the server allows",
            policies=[
                np("x/out", "e", A, egress=[{"to": [{"namespaceSelector": NS_Y, "podSelector": A}]}]),
                np("y/in", "i", ingress=[{}]),
            ],
            probes={"TCP 80": out_of("x/a", unless=("y/a",))},
        ),
    ),
    (
        29,
        Case(
            title="egress to a server elsewhere",
            policies=[np("x/out", "e", A, egress=[{"to": [{"namespaceSelector": NS_Y, "podSelector": A}]}])],
            probes={"TCP 80": out_of("x/a", unless=("y/a",))},
        ),
    ),
    (
        30,
        Case(
            title="every port of one protocol",
            policies=[np("x/p", "i", A, ingress=[{"ports": [{"protocol": "TCP"}]}])],
            probes={"TCP 80": never, "TCP 81": never, "UDP 80": into("x/a")},
        ),
    ),
    (
        31,
        Case(
            title="allow all ingress wins",
            policies=[np("x/p", "i", ingress=[{"ports": [TCP80]}]), np("x/q", "i", ingress=[{}])],
            probes={"TCP 80": never, "TCP 81": never},
        ),
    ),
    (
        32,
        Case(
            title="allow all egress wins",
            policies=[np("x/p", "e", egress=[{"ports": [TCP80]}]), np("x/q", "e", egress=[{}])],
            probes={"TCP 80": never, "TCP 81": never},
        ),
    ),
    (33, Case(title="no policy any more", policies=[], probes={"TCP 80": never, "UDP 81": never})),
    (
        34,
        Case(
            title="egress to a block",
            policies=[np("x/p", "e", A, egress=[{"to": [BLOCK_B]}])],
            probes={"TCP 80": out_of("x/a", unless=("y/b",))},
        ),
    ),
    (
        35,
        Case(
            title="egress to a block with an except",
            policies=[np("x/p", "e", A, egress=[{"to": [EXCEPT_B]}])],
            probes={"TCP 80": out_of("x/a", unless=("y/a", "y/c"))},
        ),
    ),
    (
        36,
        Case(
            title="what one block excepts another allows",
            policies=[np("x/p", "e", A, egress=[{"to": [EXCEPT_B, BLOCK_B]}])],
            probes={"TCP 80": out_of("x/a", unless=("y/",))},
        ),
    ),
    (
        37,
        Case(
            title="directions are controlled independently",
            policies=[np("x/out", "e", A, egress=[{}]), np("x/in", "i", A)],
            probes={"TCP 80": into("x/a")},
        ),
    ),
    (
        38,
        Case(
            title="SCTP is not taken for TCP",
            policies=[DENY_IN, np("x/p", "i", A, ingress=[{"ports": [{"port": 81, "protocol": "SCTP"}]}])],
            probes={"TCP 81": into("x/"), "SCTP 81": into("x/b", "x/c")},
        ),
    ),
    (
        39,
        Case(
            title="an SCTP rule isolates",
            policies=[np("x/p", "i", A, ingress=[{"ports": [{"port": 80, "protocol": "SCTP"}]}])],
            probes={"TCP 80": into("x/a"), "TCP 81": into("x/a"), "SCTP 80": never},
        ),
    ),
    (
        40,
        Case(
            title="UDP does not open TCP",
            policies=[np("x/p", "i", A, ingress=[{"ports": [{"port": 81, "protocol": "UDP"}]}])],
            probes={"TCP 81": into("x/a"), "UDP 81": never},
        ),
    ),
    (41, Case(title="the default namespace label", **pair([{"namespaceSelector": NS_Y}], "y/"))),
    (
        42,
        Case(
            title="the default namespace label in an expression",
            policies=[np("x/p", "e", A, egress=[{"to": [{"namespaceSelector": among(NS, "NotIn", "y")}]}])],
            probes={"TCP 80": out_of("x/a", unless=("x/", "z/"))},
        ),
    ),
    *protocol_cases(43, "UDP"),
    *protocol_cases(46, "SCTP"),
]


@pytest.mark.parametrize(
    ("number", "case"), CASES, ids=[f"{number:02}-{case.title}" for number, case in CASES]
)
def test_upstream_case(number: int, case: Case) -> None:
    compiled = compile_state(ClusterState.of([*nine_pods(), *case.relabelled, *case.policies]))
    for probe, denied in case.probes.items():
        wrong = [
            f"{source}->{destination} {probe}"
            for source in PODS
            for destination in PODS
            if source != destination
            and evaluate(compiled, flow(source, destination, probe)).allowed is denied(source, destination)
        ]
        assert wrong == [], f"case {number}"


def test_every_row_of_the_upstream_table_is_here() -> None:
    assert {number for number, _ in CASES} == set(range(1, 49))
