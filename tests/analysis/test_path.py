"""The way of a connection through the recipe's stages: cause, symptom, warning."""

from __future__ import annotations

import pytest

from stockade.analysis.path import PathError, World, find_path
from stockade.analysis.services import NoSuchPortError
from stockade.analysis.target import TargetError, parse_target
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.policy.compile import compile_state
from stockade.policy.verdict import PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.build import endpoint_slice, pod, policy, service
from stockade.testing.worlds import EXAMPLE_COM, WEB_IP, WEB_SERVICE_IP, recipe, recipe_objects

TEST = PodEndpoint(ObjectRef("default", "test"))


def world(stage: str, *more) -> World:
    state = ClusterState.of([*recipe_objects(stage), *more])
    return World(state, compile_state(state), {"www.example.com": EXAMPLE_COM})


def ask(stage: str, target: str, protocol: str = "TCP", *more):
    return find_path(world(stage, *more), TEST, parse_target(target, "default"), protocol)


def prints(path, client: str = "wget (busybox)"):
    return next(symptom.lines for symptom in path.symptoms if symptom.client == client)


def test_no_policy_allows_and_shows_every_step() -> None:
    path = ask("none", "http://web:80/")
    assert path.allowed
    assert [step.kind for step in path.steps] == ["lookup", "translate", "connect"]
    assert path.cause == ""
    assert path.symptoms == ()
    assert path.warnings == ()


def test_deny_all_fails_at_the_lookup_and_says_what_wget_prints() -> None:
    path = ask("deny-all", "http://web:80/")
    assert not path.allowed
    assert path.cause.startswith(
        "the lookup of web fails, before any connection: pod default/test -> pod kube-system/kube-dns UDP 53"
    )
    assert "foo-deny-egress" in path.cause
    assert prints(path) == ("wget: bad address 'web:80'",)
    assert prints(ask("deny-all", "http://www.example.com/")) == ("wget: bad address 'www.example.com'",)


def test_with_dns_allowed_the_connection_times_out_and_the_hole_is_named() -> None:
    path = ask("dns", "http://web")
    assert [step.allowed for step in path.steps] == [True, None, False]
    assert prints(path) == (f"Connecting to web ({WEB_SERVICE_IP}:80)", "wget: download timed out")
    assert path.warnings == (
        "default/foo-deny-egress egress[0] opens port 53 without `to`: it reaches port 53 of any host, not only kube-dns",
    )
    outside = ask("dns", "http://www.example.com")
    assert prints(outside) == (
        f"Connecting to www.example.com ({EXAMPLE_COM}:80)",
        "wget: download timed out",
    )


def test_port_53_of_any_host_is_open() -> None:
    assert ask("dns", "74.125.129.101:53", "UDP").allowed
    assert not ask("dns", "74.125.129.101:80").allowed


def test_references_and_addresses_need_no_lookup() -> None:
    for target in ("pod/web:80", "pod/web", "svc/web:80", "svc/web", f"{WEB_IP}:80", f"{WEB_SERVICE_IP}:80"):
        path = ask("deny-all", target)
        assert "lookup" not in [step.kind for step in path.steps], target
        assert not path.allowed, target
        assert ask("none", target).allowed, target


def test_service_without_endpoints_is_refused_whatever_the_policies() -> None:
    empty = service("empty", {"app": "nobody"}, "10.96.1.1", {"port": 80, "protocol": "TCP"})
    path = ask("none", "http://empty/", "TCP", empty)
    assert not path.allowed
    assert prints(path)[-1] == "wget: can't connect to remote host (10.96.1.1): Connection refused"
    assert "policies play no part" in path.cause


def test_backends_that_differ_are_called_mixed() -> None:
    second = pod("web-2", {"app": "web", "closed": "yes"}, "10.244.0.20")
    closed = policy("closed", {"podSelector": {"matchLabels": {"closed": "yes"}}, "policyTypes": ["Ingress"]})
    path = ask("none", "svc/web", "TCP", second, closed)
    assert path.mixed
    assert not path.allowed


def test_endpoint_slices_are_the_truth_when_there_are_some() -> None:
    objects = recipe_objects("none")
    web = next(item for item in objects if isinstance(item, Pod) and item.ref.name == "web")
    sliced = endpoint_slice("web", [web], {"name": "", "protocol": "TCP", "port": 8080})
    path = ask("none", "svc/web:80", "TCP", sliced)
    assert "8080/TCP" in path.steps[-1].title


def test_names_follow_the_search_list() -> None:
    assert ask("none", "http://web.default.svc.cluster.local/").allowed
    missing = ask("none", "http://nosuch/")
    assert prints(missing) == ("wget: bad address 'nosuch'",)
    assert "no such name" in missing.cause


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("pod/nosuch:80", PathError, "pod default/nosuch does not exist"),
        ("svc/nosuch:80", PathError, "Service default/nosuch does not exist"),
        ("svc/web:81", NoSuchPortError, "no port 81/TCP: it has 80/TCP"),
        ("pod/test", PathError, "which port of pod/test? write it as pod/test:PORT"),
        ("fruit/web", TargetError, "unknown kind 'fruit'"),
        ("pod/web:70000", TargetError, "port 70000 must be between 1 and 65535"),
        ("not a host", TargetError, "is no end of a connection"),
    ],
)
def test_bad_references_say_what_would_be_right(target: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("?", r"\?").replace("(", r"\(")):
        ask("none", target)


def test_recipe_state_is_the_named_world() -> None:
    assert recipe("none").services.keys() >= {ObjectRef("kube-system", "kube-dns")}
