"""Which ports are allowed: the ranges say of every port what the engine says of it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.analysis.ask import Question
from stockade.analysis.ports import EVERY_PORT, PROTOCOLS, all_ports, allowed_ports
from stockade.analysis.target import TargetError
from stockade.net.ranges import RangeSet
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow
from stockade.store.state import ClusterState
from stockade.testing.build import node, pod, policy, service
from stockade.testing.strategies import PORTS, flows, worlds
from stockade.testing.worlds import recipe

# Where the vocabulary of random worlds can make a difference, each with its neighbours.
INTERESTING = sorted({port + step for port in (*PORTS, 2, 8000, 9000) for step in (-1, 0, 1)} | {1, 65535})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_ranges_agree_with_the_engine(data):
    state = data.draw(worlds())
    compiled = compile_state(state)
    flow = data.draw(flows(state))
    for protocol in PROTOCOLS:
        found = allowed_ports(compiled, flow.source, flow.destination, protocol, flow.family)
        extra = {port for pair in found for port in (pair[0] - 1, *pair, pair[1] + 1)}
        for port in sorted({*INTERESTING, *extra} & set(range(1, 65536))):
            asked = Flow(flow.source, flow.destination, protocol, port, flow.family)
            assert (port in found) == evaluate(compiled, asked).allowed, asked


WORLD = [
    node(),
    pod("cli", {"app": "cli"}, "10.244.0.1"),
    pod("web", {"app": "web"}, "10.244.0.2", ports=[{"name": "admin", "containerPort": 9090}]),
    service("web", {"app": "web"}, "10.96.0.7", {"port": 80, "targetPort": 8000}, {"port": 81, "name": "x"}),
    policy(
        "web",
        {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"ports": [{"port": 8000, "endPort": 8100}, {"port": "admin"}, {"protocol": "UDP"}]}],
        },
    ),
]


def maps(target: str, source: str = "pod/cli", world=None, **more):
    state = world or ClusterState.of(WORLD)
    return all_ports(state, Question(source=source, target=target, **more))


def test_a_pod():
    (found,) = maps("pod/web")
    assert found.ports == {
        "TCP": RangeSet.of((8000, 8100), (9090, 9090)),
        "UDP": EVERY_PORT,
        "SCTP": RangeSet(),
    }
    assert found.icmp is False
    assert found.any_allowed


def test_a_service_has_its_own_ports_only():
    for target in ("svc/web", "10.96.0.7", "web"):
        (found,) = maps(target)
        assert found.destination == "Service default/web"
        assert found.ports["TCP"] == RangeSet.of((80, 80))


def test_a_service_whose_backends_differ_says_which():
    shut = policy("shut", {"podSelector": {"matchLabels": {"shut": "yes"}}, "ingress": []})
    second = pod("web-shut", {"app": "web", "shut": "yes"}, "10.244.0.3")
    web = pod("web", {"app": "web"}, "10.244.0.2")
    front = service("web", {"app": "web"}, "10.96.0.7", {"port": 80})
    world = ClusterState.of([node(), pod("cli", {}, "10.244.0.1"), web, second, front, shut])
    (found,) = maps("svc/web", world=world)
    assert not found.any_allowed
    assert "denied for 1 of 2 backends" in found.note
    assert "web-shut" in found.note


def test_one_protocol():
    (found,) = maps("pod/web", protocol="udp")
    assert list(found.ports) == ["UDP"]
    assert found.icmp is None


def test_an_address_outside_and_from_outside():
    (found,) = maps("203.0.113.7")
    assert found.ports["TCP"] == EVERY_PORT
    (found,) = maps("pod/web", source="203.0.113.7")
    assert found.ports["TCP"] == RangeSet.of((8000, 8100), (9090, 9090))


def test_a_lookup_that_fails_is_said():
    (found,) = maps("www.example.com", source="pod/test", world=recipe("deny-all"))
    assert not found.any_allowed
    assert found.note.startswith("lookup of www.example.com fails")


def test_a_port_is_no_question():
    with pytest.raises(TargetError, match="names a port or ICMP"):
        maps("pod/web:80")
