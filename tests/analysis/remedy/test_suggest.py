"""Which policies are proposed: where, under which name, with what in them, and what the notes say."""

from __future__ import annotations

import msgspec
import pytest

from stockade.analysis.path import trace
from stockade.analysis.remedy.suggest import Asked, Run, suggest
from stockade.analysis.remedy.values import Remedy, manifest
from stockade.analysis.steps import Path, PathQuery
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.policy.compile import compile_state
from stockade.store.delta import Upsert, apply
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.build import namespace, node, pod, policy, service
from stockade.testing.worlds import recipe_objects

DENY = {"policyTypes": ["Ingress", "Egress"]}
KUBE_SYSTEM = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}


def path(world, target: str, source: str = "default/test") -> Path:
    state = world if isinstance(world, ClusterState) else ClusterState.of(world)
    return trace(
        state, PathQuery(ObjectRef(*source.split("/")), target, {"www.example.com": "93.184.216.34"})
    )


def remedy(world, target: str, source: str = "default/test") -> Remedy:
    found = path(world, target, source).remedy
    assert found is not None
    return found


def specs(found: Remedy) -> dict[str, dict]:
    return {str(each.ref): manifest(each)["spec"] for each in found.policies}


def test_both_directions_take_one_policy_each():
    found = remedy([*recipe_objects(), policy("deny", DENY)], "pod/web:80")
    foo, web = (
        {"podSelector": {"matchLabels": {"app": "foo"}}},
        {"podSelector": {"matchLabels": {"app": "web"}}},
    )
    port = {"protocol": "TCP", "port": 80}
    assert specs(found) == {
        "default/allow-test-to-web-80": {
            **foo,
            "policyTypes": ["Egress"],
            "egress": [{"to": [web], "ports": [port]}],
        },
        "default/allow-web-80-from-test": {
            **web,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [foo], "ports": [port]}],
        },
    }
    assert found.complete


def test_a_closed_kube_dns_gets_a_policy_of_its_own():
    found = remedy([*recipe_objects("deny-all"), policy("kube-system/deny", DENY)], "http://web")
    assert list(specs(found)) == ["default/allow-test-to-web-80", "kube-system/allow-dns-from-default-test"]
    (rule,) = specs(found)["kube-system/allow-dns-from-default-test"]["ingress"]
    assert rule["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "default"}}


def test_without_kube_dns_in_the_files_the_usual_one_is_meant():
    world = [node(), pod("test", {"app": "foo"}), policy("deny", DENY)]
    found = remedy(world, "http://www.example.com/")
    lookup, connection = specs(found)["default/allow-test-to-www-example-com-80"]["egress"]
    assert lookup["to"] == [
        {"namespaceSelector": KUBE_SYSTEM, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    ]
    assert connection["to"] == [{"ipBlock": {"cidr": "93.184.216.34/32"}}]
    assert found.notes == (
        (
            "default/allow-test-to-www-example-com-80 allows 93.184.216.34/32: policies know addresses, not names;"
            " a name may have another one tomorrow"
        ),
    )


def test_an_address_nobody_told_is_never_replaced_by_a_wide_block():
    found = remedy(recipe_objects("deny-all"), "http://elsewhere.example/")
    assert not found.complete
    assert len(specs(found)["default/allow-test-to-elsewhere-example-80"]["egress"]) == 1  # the lookup
    assert found.notes == (
        (
            "the address of elsewhere.example is not known here, and a policy needs an address (never a whole 0.0.0.0/0):"
            " give it, --resolve NAME=IP"
        ),
    )


def test_an_ipv6_address_is_a_block_of_128_bits():
    both = pod("test", {"app": "foo"}, "10.244.0.11", "fd00::11")
    found = remedy([*recipe_objects("deny-all"), both], "[2001:db8::7]:443")
    assert "2001:db8::7/128" in str(specs(found))


def test_the_destination_pods_own_port_is_named_not_the_services():
    front = service("front", {"app": "web"}, "10.96.0.9", {"port": 8001, "protocol": "TCP", "targetPort": 80})
    found = remedy([*recipe_objects("kube-dns"), front], "http://front:8001/")
    (rule,) = specs(found)["default/allow-test-to-front-8001"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 80}]


def test_all_backends_of_a_service_are_one_peer_when_labels_say_so():
    more = [pod(f"web-{n}", {"app": "web", "n": str(n)}, f"10.244.0.{n}") for n in (31, 32)]
    (rule,) = specs(remedy([*recipe_objects("kube-dns"), *more], "http://web"))[
        "default/allow-test-to-web-80"
    ]["egress"]
    assert rule["to"] == [{"podSelector": {"matchLabels": {"app": "web"}}}]


def test_pods_that_share_the_labels_are_named():
    twin = pod("twin", {"app": "foo"}, "10.244.0.50")
    found = remedy([*recipe_objects("kube-dns"), twin], "http://web")
    assert [str(flow.source) for flow in found.also] == ["pod default/twin"]
    assert found.notes == (
        (
            "also allows pod default/twin -> pod default/web TCP 80: no selector tells these pods apart, or these share an"
            " address"
        ),
    )


def test_a_pod_that_is_open_is_never_isolated_by_the_change():
    """``open`` carries all labels of ``test`` and one more, by which the policy at hand leaves it out."""
    spec = {
        "podSelector": {
            "matchLabels": {"app": "foo"},
            "matchExpressions": [{"key": "free", "operator": "DoesNotExist"}],
        },
        "policyTypes": ["Egress"],
    }
    world = [
        *recipe_objects(),
        pod("open", {"app": "foo", "free": "yes"}, "10.244.0.51"),
        policy("deny", spec),
    ]
    found = remedy(world, "pod/web:80")
    after = apply(ClusterState.of(world), [Upsert(POLICIES, each) for each in found.policies])
    assert path(after, "93.184.216.34:443", "default/open").allowed
    assert path(after, "pod/web:80").allowed


def test_names_in_use_are_left_alone():
    taken = policy("allow-test-to-web-80", {"podSelector": {"matchLabels": {"app": "other"}}})
    found = remedy([*recipe_objects("kube-dns"), taken], "http://web")
    assert list(specs(found)) == ["default/allow-test-to-web-80-2"]


def test_long_names_are_cut_and_stay_distinct():
    target, other = "x" * 60 + ".example", "x" * 60 + ".example.org"
    names = set()
    for name in (target, other):
        state = ClusterState.of(recipe_objects("deny-all"))
        found = trace(state, PathQuery(ObjectRef("default", "test"), f"http://{name}/", {name: "192.0.2.9"}))
        names |= {each.ref.name for each in found.remedy.policies}
    assert len(names) == 2
    assert all(len(each) <= 63 for each in names)


def test_a_host_network_pod_is_its_nodes_address():
    host = pod("host", {"app": "h"}, "172.30.0.1", host_network=True)
    neighbour = pod("neighbour", {}, "172.30.0.1", host_network=True)
    found = remedy([*recipe_objects("deny-all"), host, neighbour], "pod/host:80")
    assert specs(found)["default/allow-test-to-host-80"]["egress"][0]["to"] == [
        {"ipBlock": {"cidr": "172.30.0.1/32"}}
    ]
    assert [str(flow.destination) for flow in found.also] == ["pod default/neighbour"]
    assert "a node's address" in found.notes[0]


def test_a_host_network_pod_of_another_node_comes_from_its_nodes_address():
    world = [
        *recipe_objects(),
        node("other", "172.30.0.2"),
        pod("host", {}, "172.30.0.2", on="other", host_network=True),
        policy("deny", DENY),
    ]
    (spec,) = specs(remedy(world, "pod/web:80", "default/host")).values()
    assert spec["ingress"][0]["from"] == [{"ipBlock": {"cidr": "172.30.0.2/32"}}]


def test_a_peer_without_an_address_yet_is_said():
    world = [*recipe_objects("deny-all"), pod("host", {}, on="nowhere", host_network=True)]
    found = remedy(world, "pod/host:80")
    assert (found.policies, found.complete) == ((), False)
    assert found.notes == ("pod default/host has no address yet that a rule could name",)


def test_where_no_policy_is_to_blame_none_is_proposed():
    empty = service("empty", {"app": "none"}, "10.96.0.88", {"port": 80, "protocol": "TCP"})
    found = remedy([*recipe_objects(), empty], "http://empty/")
    assert (found.policies, found.complete) == ((), False)
    assert found.notes[0].endswith("no policy is to blame; no policy change helps")


def test_a_pod_without_labels_is_warned_about():
    found = remedy([pod("only", {}, "10.244.0.9"), policy("deny", DENY)], "192.0.2.7:80", "default/only")
    assert specs(found)["default/allow-only-to-192-0-2-7-80"]["podSelector"] == {}
    assert "every pod of namespace default, also those to come" in found.notes[0]


def test_a_label_of_one_rollout_is_warned_about():
    labels = [{"app": "foo", "pod-template-hash": value} for value in ("1", "2")]
    world = [
        pod("old", labels[0], "10.244.0.8"),
        pod("new", labels[1], "10.244.0.9"),
        pod("web", {"app": "web"}, "10.244.0.10"),
        policy("deny", {"podSelector": {"matchLabels": {"app": "foo"}}, "policyTypes": ["Egress"]}),
    ]
    found = remedy(world, "pod/web:80", "default/new")
    assert "by pod-template-hash alone, which does not outlive it" in found.notes[0]
    assert found.also == ()


def several(world: list, sources: list[str], target: str, ports: int = 1) -> Remedy:
    state = ClusterState.of(world)
    runs = [Run(path(state, target, source).steps, ports) for source in sources]
    return suggest(state, compile_state(state), runs, Asked("deploy-shop", "default", "web"))


def test_replicas_that_ask_together_take_one_policy_and_are_not_called_others():
    replicas = [pod(f"shop-{n}", {"app": "shop"}, f"10.244.0.{60 + n}") for n in range(3)]
    world = [
        *recipe_objects(),
        *replicas,
        policy("deny", {**DENY, "podSelector": {"matchLabels": {"app": "shop"}}}),
    ]
    found = several(world, [f"default/shop-{n}" for n in range(3)], "pod/web:80")
    assert list(specs(found)) == ["default/allow-deploy-shop-to-web"]
    assert (found.also, found.notes, found.complete) == ((), (), True)
    some = several(world, ["default/shop-0", "default/shop-1"], "pod/web:80")
    assert [str(flow.source) for flow in some.also] == ["pod default/shop-2"]


def test_replicas_that_talk_to_each_other_take_two_policies():
    replicas = [pod(f"shop-{n}", {"app": "shop"}, f"10.244.0.{60 + n}") for n in range(3)]
    front = service("shop", {"app": "shop"}, "10.96.0.70", {"port": 80, "protocol": "TCP"})
    world = [*recipe_objects("none"), *replicas, front]
    closed = policy("deny", {**DENY, "podSelector": {"matchLabels": {"app": "shop"}}})
    found = several([*world, closed], [f"default/shop-{n}" for n in range(3)], "10.96.0.70:80")
    assert [each.spec.policy_types for each in found.policies] == [["Egress"], ["Ingress"]]
    assert found.also == ()


def test_a_run_of_ports_is_a_range():
    found = several(recipe_objects("deny-all"), ["default/test"], "pod/web:8000", ports=101)
    (spec,) = specs(found).values()
    assert spec["egress"][0]["ports"] == [{"protocol": "TCP", "port": 8000, "endPort": 8100}]


@pytest.mark.parametrize("stage", ["deny-all", "kube-dns"])
def test_a_path_with_its_remedy_survives_json(stage):
    found = path(recipe_objects(stage), "http://web")
    assert found.remedy.policies
    assert msgspec.json.decode(msgspec.json.encode(found), type=Path) == found


def test_who_asks_only_for_the_verdict_gets_no_remedy():
    state = ClusterState.of(recipe_objects("deny-all"))
    query = PathQuery(ObjectRef("default", "test"), "http://web")
    assert trace(state, query, with_remedy=False).remedy is None
    assert isinstance(state.pods[ObjectRef("default", "test")], Pod)


def test_a_target_in_another_namespace_is_told_by_its_namespace():
    world = [
        *recipe_objects("kube-dns"),
        namespace("shop"),
        pod("shop/api", {"app": "web"}, "10.244.0.40", ports=[{"containerPort": 80}]),
    ]
    (spec,) = specs(remedy(world, "shop:pod/api")).values()
    (peer,) = spec["egress"][0]["to"]
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
    assert list(specs(remedy(world, "shop:pod/api"))) == ["default/allow-test-to-api-shop-80"]
