"""What people type as the near end, and what it stands for."""

from __future__ import annotations

import msgspec
import pytest

from stockade.analysis.ask import Question, ask
from stockade.analysis.source import origin_text, origins, parse_source
from stockade.analysis.target import TargetError
from stockade.analysis.workloads import WORKLOADS, names_workload
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import UnknownPodError
from stockade.store.state import ClusterState
from stockade.testing.build import NODE, NODE_IP, namespace, node, pod, policy, service


def owned(name: str, kind: str, owner: str, ip: str, phase: str = "Running", **labels: str):
    plain = pod(f"shop/{name}", {"app": "web", **labels}, ip, phase=phase, ports=[{"containerPort": 80}])
    meta = msgspec.convert(
        {
            "name": name,
            "namespace": "shop",
            "labels": plain.labels,
            "ownerReferences": [{"kind": kind, "name": owner}],
        },
        type(plain.metadata),
    )
    return msgspec.structs.replace(plain, metadata=meta)


WORLD = [
    namespace("shop"),
    node(),
    owned("web-1", "Deployment", "web", "10.244.0.1"),
    owned("web-2", "Deployment", "web", "10.244.0.2", tier="old"),
    owned("web-3", "Deployment", "web", "10.244.0.3", phase="Succeeded"),
    owned("db-0", "StatefulSet", "db", "10.244.0.4"),
    pod("shop/cli", {"app": "cli"}, "10.244.0.5"),
]
COMPILED = compile_state(ClusterState.of(WORLD))


def stands_for(text: str) -> list[str]:
    return [origin_text(each) for each in origins(COMPILED, parse_source(text, "shop"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cli", ["pod shop/cli"]),
        ("shop:pod/cli", ["pod shop/cli"]),
        ("deploy/web", ["pod shop/web-1", "pod shop/web-2"]),
        ("shop:deployments.apps/web", ["pod shop/web-1", "pod shop/web-2"]),
        ("sts/db", ["pod shop/db-0"]),
        ("203.0.113.7", ["203.0.113.7"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("10.244.0.5", ["pod shop/cli"]),
        (f"node/{NODE}", [f"node {NODE} ({NODE_IP})"]),
    ],
)
def test_origins(text, expected):
    assert stands_for(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deploy/nosuch", "Deployment shop/nosuch does not exist here, or none of its pods is running"),
        ("sts/web", "StatefulSet shop/web does not exist here"),
        ("other:deploy/web", "Deployment other/web does not exist here"),
        ("node/nosuch", f"node nosuch is not known here, or has no address .known: {NODE}"),
        ("svc/web", "not something that connects"),
        ("10.0.0.0/8", "not something that connects"),
        ("pod/web:80", "not something that connects"),
        ("", "not something that connects"),
    ],
)
def test_what_stands_for_nothing(text, message):
    with pytest.raises(TargetError, match=message):
        stands_for(text)


def test_a_finished_pod_is_unknown():
    with pytest.raises(UnknownPodError):
        stands_for("pod/web-3")


def test_every_short_name_is_a_workload():
    for short in ("deploy", "rs", "sts", "ds", "job", "cronjob", "cj", "rc"):
        assert short in WORKLOADS
        assert names_workload(f"{short}/a")
        assert names_workload(f"ns:{short}/a:80")
    assert not names_workload("pod/a")
    assert not names_workload("http://deploy/a")


def ask_shop(source: str, target: str, *policies, **more):
    state = ClusterState.of([*WORLD, *policies])
    return ask(state, Question(source=source, target=target, namespace="shop", **more))


OLD_ONLY = policy(
    "shop/old-may-not",
    {"podSelector": {"matchLabels": {"tier": "old"}}, "policyTypes": ["Egress"], "egress": []},
)
WEB_FROM = policy(
    "shop/web",
    {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "cli"}}}],
                "ports": [{"port": 8000, "endPort": 8010}],
            },
            {"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]},
        ],
    },
)


def test_pods_of_a_workload_that_agree_are_one_group():
    found = ask_shop("deploy/web", "pod/cli:80")
    assert found.allowed
    assert found.agree
    assert [len(group) for group in found.groups] == [2]


def test_pods_of_a_workload_that_differ_are_told_apart_the_denied_first():
    found = ask_shop("deploy/web", "pod/cli:80", OLD_ONLY)
    assert not found.allowed
    assert not found.denied
    assert not found.agree
    assert [[case.source for case in group] for group in found.groups] == [
        ["pod shop/web-2"],
        ["pod shop/web-1"],
    ]
    assert not found.deciding.path.allowed


def test_a_workload_as_target_is_every_pod_of_it():
    narrow = policy("shop/old", {"podSelector": {"matchLabels": {"tier": "old"}}})
    found = ask_shop("pod/cli", "deploy/web", narrow)
    assert not found.allowed
    assert not found.denied  # one pod of two answers
    assert "denied for 1 of 2 backends" in found.deciding.path.cause
    assert ask_shop("pod/cli", "deploy/web").allowed


def test_a_range_is_split_where_verdicts_change_and_nowhere_else():
    found = ask_shop("pod/cli", "pod/web-1:7990-8020", WEB_FROM)
    assert [(case.ports, case.path.allowed) for case in found.cases] == [
        ((7990, 7999), False),
        ((8000, 8010), True),
        ((8011, 8020), False),
    ]
    assert ask_shop("pod/cli", "pod/web-1:8000-8010", WEB_FROM).allowed
    assert ask_shop("pod/cli", "pod/web-1:1-7999", WEB_FROM).denied


def test_a_range_over_a_service_is_split_at_its_ports():
    front = service("shop/front", {"app": "web"}, "10.96.0.9", {"port": 80}, {"port": 82, "name": "b"})
    found = ask_shop("pod/cli", "svc/front:79-83", front)
    assert [(case.ports, case.path.allowed) for case in found.cases] == [
        ((79, 79), False),
        ((80, 80), True),
        ((81, 81), False),
        ((82, 82), True),
        ((83, 83), False),
    ]


def test_pods_that_are_denied_by_different_policies_are_told_apart():
    both = policy("shop/all", {"podSelector": {}, "policyTypes": ["Egress"]})
    found = ask_shop("deploy/web", "pod/cli:80", OLD_ONLY, both)
    assert found.denied
    assert len(found.groups) == 2


def test_ports_as_an_option():
    assert ask_shop("pod/cli", "pod/web-1", WEB_FROM, port="8000-8010").allowed
    assert ask_shop("pod/cli", "pod/web-1", WEB_FROM, port="8000", protocol="udp").denied
    assert ask_shop("pod/cli", "pod/web-1", WEB_FROM, protocol="icmp").denied
    assert ask_shop("pod/cli", "pod/web-1", protocol="icmp").allowed
    with pytest.raises(TargetError, match="names port 80 itself"):
        ask_shop("pod/cli", "pod/web-1:80", port="81")


@pytest.mark.parametrize(
    ("source", "allowed"),
    [("203.0.113.7", True), ("198.51.100.1", False), (f"node/{NODE}", True), ("10.244.0.5", False)],
)
def test_who_is_no_pod_asks_too(source, allowed):
    """The pod's own node is always let in (rule 34); an address of a pod is that pod."""
    found = ask_shop(source, "deploy/web:443", WEB_FROM)
    assert found.allowed is allowed
    assert found.denied is not allowed


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("pod/cli", "pod/web-1:7990-8020"),
        ("deploy/web", "pod/cli:80"),
        ("pod/cli", "deploy/web:81"),
        ("198.51.100.1", "deploy/web:443"),
        ("sts/db", "deploy/web:80-90"),
    ],
)
def test_one_change_mends_every_pod_and_port_of_a_question(source, target):
    state = ClusterState.of([*WORLD, OLD_ONLY, WEB_FROM])
    question = Question(source=source, target=target, namespace="shop")
    before = ask(state, question, with_remedy=True)
    assert not before.allowed
    assert before.remedy is not None
    assert before.remedy.complete
    after = ask(
        ClusterState.of([*WORLD, OLD_ONLY, WEB_FROM, *before.remedy.policies]), question, with_remedy=True
    )
    assert after.allowed
    assert after.remedy is None
