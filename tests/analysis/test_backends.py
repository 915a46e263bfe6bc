"""Who is behind a Service, and on which port."""

from __future__ import annotations

import msgspec
import pytest

from stockade.analysis.backends import backends, service_port
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import endpoint_slice, pod, service

HTTP = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}


def behind(*objects, name: str = "web", port: int = 80) -> list[str]:
    state = ClusterState.of(objects)
    front = next(each for ref, each in state.services.items() if ref.name == name)
    found = backends(state, compile_state(state), front, service_port(front, port, "TCP"))
    return [f"{each.endpoint} {each.port}" for each in found]


@pytest.fixture
def web():
    return pod("web", {"app": "web"}, "10.244.0.10", ports=[{"name": "serve", "containerPort": 8081}])


def test_a_numeric_target_port_is_used_as_it_is(web):
    assert behind(web, service("web", {"app": "web"}, "10.96.0.1", HTTP)) == ["pod default/web 8080"]


def test_without_a_target_port_the_services_port_is_used(web):
    port = {"port": 80, "protocol": "TCP"}
    assert behind(web, service("web", {"app": "web"}, "10.96.0.1", port)) == ["pod default/web 80"]


def test_a_named_target_port_is_each_pods_own_and_pods_without_it_are_left_out(web):
    other = pod("other", {"app": "web"}, "10.244.0.11", ports=[{"name": "serve", "containerPort": 9000}])
    without = pod("without", {"app": "web"}, "10.244.0.12")
    front = service("web", {"app": "web"}, "10.96.0.1", {**HTTP, "targetPort": "serve"})
    assert behind(web, other, without, front) == ["pod default/other 9000", "pod default/web 8081"]


def test_pods_that_leave_or_have_finished_or_live_elsewhere_are_not_behind_it(web):
    leaving = pod("leaving", {"app": "web"}, "10.244.0.13", terminating=True)
    done = pod("done", {"app": "web"}, "10.244.0.14", phase="Succeeded")
    elsewhere = pod("other/web", {"app": "web"}, "10.244.0.15")
    front = service("web", {"app": "web"}, "10.96.0.1", HTTP)
    assert behind(web, leaving, done, elsewhere, front) == ["pod default/web 8080"]


def test_no_selector_and_no_slices_is_nobody(web):
    assert behind(web, service("web", None, "10.96.0.1", HTTP)) == []


def test_slices_count_by_port_name_and_readiness(web):
    second = pod("second", {}, "10.244.0.16")
    ports = [{"name": "http", "port": 1, "protocol": "TCP"}, {"name": "other", "port": 2, "protocol": "TCP"}]
    entries = msgspec.to_builtins(endpoint_slice("web", [web, second], *ports))
    entries["endpoints"][1]["conditions"] = {"ready": False}
    front = service("web", {"app": "nobody"}, "10.96.0.1", HTTP)
    known = msgspec.convert(entries, type(endpoint_slice("web", [])))
    assert behind(web, second, front, known) == ["pod default/web 1"]


def test_slices_may_list_hosts_outside(web):
    entries = msgspec.to_builtins(
        endpoint_slice("web", [web], {"name": "http", "port": 1, "protocol": "TCP"})
    )
    entries["endpoints"] = [{"addresses": ["192.0.2.1", "nonsense"]}]
    known = msgspec.convert(entries, type(endpoint_slice("web", [])))
    assert behind(service("web", None, "10.96.0.1", HTTP), known) == ["192.0.2.1 1"]
