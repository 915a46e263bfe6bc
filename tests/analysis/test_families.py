"""Dual stack: each attempt is judged in the family of the address that the application connects to."""

from __future__ import annotations

import msgspec
import pytest

from stockade.analysis.ask import Question, ask
from stockade.analysis.path import trace
from stockade.analysis.steps import Path, PathQuery
from stockade.model.meta import ObjectRef
from stockade.model.objects import EndpointSlice, Service
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy

PORTS = [{"containerPort": 80}]
ONLY_FOUR = policy(
    "only-four",
    {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
    },
)
WORLD = [
    namespace("default"),
    node(),
    pod("test", {"app": "foo"}, "10.244.0.1", "fd00::1"),
    pod("web", {"app": "web"}, "10.244.0.2", "fd00::2", ports=PORTS),
    pod("four", {"app": "four"}, "10.244.0.3", ports=PORTS),
    pod("six", {"app": "six"}, "fd00::4", ports=PORTS),
    ONLY_FOUR,
]


def front(*ips: str, **more) -> Service:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}], **more}
    if ips:
        spec.update(clusterIP=ips[0], clusterIPs=list(ips))
    return msgspec.convert({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}, Service)


def listed(family: int, address: str) -> EndpointSlice:
    meta = {"name": f"web-{family}", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    target = {"kind": "Pod", "namespace": "default", "name": "web"}
    return msgspec.convert(
        {
            "metadata": meta,
            "addressType": f"IPv{family}",
            "endpoints": [{"addresses": [address], "targetRef": target}],
            "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        },
        EndpointSlice,
    )


def path(target: str, *more, source: str = "test") -> Path:
    return trace(ClusterState.of([*WORLD, *more]), PathQuery(ObjectRef("default", source), target))


def families(found: Path) -> list[tuple[int, bool]]:
    return [(attempt.flow.family, attempt.allowed) for attempt in found.steps[-1].attempts]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("10.244.0.2:80", [(4, True)]),
        ("[fd00::2]:80", [(6, False)]),
        ("http://[fd00::2]:80/", [(6, False)]),
        ("pod/web", [(4, True), (6, False)]),
    ],
)
def test_the_address_that_is_written_decides(target, expected):
    assert families(path(target)) == expected


def test_a_pod_that_differs_by_family_is_not_allowed():
    found = path("pod/web")
    assert not found.allowed
    assert found.possible
    assert "differs by address family: denied by IPv6, allowed by IPv4" in found.cause


@pytest.mark.parametrize(
    ("more", "target", "expected"),
    [
        ([front("10.96.0.7", "fd01::7")], "10.96.0.7:80", [(4, True)]),
        ([front("10.96.0.7", "fd01::7")], "[fd01::7]:80", [(6, False)]),
        ([front("10.96.0.7", "fd01::7")], "svc/web", [(4, True), (6, False)]),
        ([front("fd01::7")], "svc/web", [(6, False)]),
        ([front("10.96.0.7")], "svc/web", [(4, True)]),
        ([front(ipFamilies=["IPv6"])], "svc/web", [(6, False)]),
        ([front()], "svc/web", [(4, True)]),
        ([front(), listed(6, "fd00::2")], "svc/web", [(6, False)]),
        (
            [front("10.96.0.7", "fd01::7"), listed(4, "10.244.0.2"), listed(6, "fd00::2")],
            "[fd01::7]:80",
            [(6, False)],
        ),
        ([front("None", ipFamilies=["IPv6"])], "http://web/", [(6, False)]),
    ],
)
def test_a_services_family_decides(more, target, expected):
    assert families(path(target, *more)) == expected


def test_the_address_of_a_service_is_the_one_that_was_written():
    found = path("[fd01::7]:80", front("10.96.0.7", "fd01::7"))
    assert found.symptom[0] == "Connecting to [fd01::7]:80 ([fd01::7]:80)"


@pytest.mark.parametrize(("source", "allowed"), [("10.244.0.1", True), ("fd00::1", False)])
def test_a_source_given_as_an_address_connects_from_it(source, allowed):
    answer = ask(ClusterState.of(WORLD), Question(source=source, target="pod/web"))
    assert answer.allowed is allowed
    assert len(answer.deciding.path.steps[-1].attempts) == 1


@pytest.mark.parametrize("target", ["pod/six", "[fd00::4]:80", "[2001:db8::5]:80"])
def test_without_a_common_family_nothing_is_allowed(target):
    found = path(target, source="four")
    assert not found.allowed
    assert not found.possible
    assert "no common address family" in found.steps[-1].detail
    assert "no policy is to blame" in found.cause
    assert found.steps[-1].attempts == ()


def test_a_service_of_the_other_family_is_not_allowed():
    open_world = [each for each in WORLD if each is not ONLY_FOUR]
    state = ClusterState.of([*open_world, front("fd01::7")])
    found = trace(state, PathQuery(ObjectRef("default", "four"), "10.96.0.7:80"))
    assert found.allowed  # nobody there: an address outside
    found = trace(state, PathQuery(ObjectRef("default", "four"), "[fd01::7]:80"))
    assert not found.allowed
    assert "no common address family" in found.cause


def test_loopback_has_both_families():
    assert path("[::1]:80", source="four").allowed
