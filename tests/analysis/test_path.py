"""Paths on the recipe's three stages, and on what people get wrong about Services and DNS."""

from __future__ import annotations

import msgspec
import pytest

from stockade.analysis.path import DNS_SERVICE, trace
from stockade.analysis.steps import Path, PathQuery, query
from stockade.analysis.target import TargetError
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod, Service
from stockade.net.cidr import parse_address
from stockade.policy.evaluate import UnknownPodError
from stockade.policy.verdict import AddressEndpoint
from stockade.store.state import ClusterState
from stockade.testing.build import endpoint_slice, namespace, node, pod, policy, service
from stockade.testing.worlds import EXAMPLE_COM, GOOGLE_COM, WEB_SERVICE_IP, recipe, recipe_objects

HOSTS = {"www.example.com": EXAMPLE_COM, "google.com": GOOGLE_COM}
FOO = {"podSelector": {"matchLabels": {"app": "foo"}}, "policyTypes": ["Egress"]}


def path(world, target: str, source: str = "test", hosts: dict | None = None) -> Path:
    state = world if isinstance(world, ClusterState) else ClusterState.of(world)
    return trace(state, PathQuery(ObjectRef("default", source), target, HOSTS if hosts is None else hosts))


def outline(found: Path) -> list[tuple[str, bool]]:
    return [(step.kind, step.ok) for step in found.steps]


def test_before_any_policy_every_step_is_open():
    found = path(recipe(), "http://web:80/")
    assert found.allowed
    assert found.cause == ""
    assert outline(found) == [("lookup", True), ("translate", True), ("connect", True)]
    assert found.symptom == (f"Connecting to web:80 ({WEB_SERVICE_IP}:80)",)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("http://web:80/", "wget: bad address 'web:80'"),
        ("http://web", "wget: bad address 'web'"),
        ("http://www.example.com/", "wget: bad address 'www.example.com'"),
        ("web:80", "wget: bad address 'web:80'"),
        ("svc/web:80", "wget: bad address 'web:80'"),
        ("icmp://google.com", "ping: bad address 'google.com'"),
    ],
)
def test_with_all_egress_denied_the_lookup_is_the_cause(url, printed):
    found = path(recipe("deny-all"), url)
    assert not found.allowed
    assert found.failed == 0
    assert found.cause.startswith("lookup of ")
    assert found.cause.endswith(
        "pod default/test -> pod kube-system/kube-dns UDP 53: denied, egress of pod default/test: "
        "isolated by default/foo-deny-egress, which has no egress rules"
    )
    assert found.symptom == (printed,)


def test_what_would_stop_next_is_shown_too():
    assert outline(path(recipe("deny-all"), "http://web:80/")) == [
        ("lookup", False),
        ("translate", True),
        ("connect", False),
    ]


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("http://web", [f"Connecting to web ({WEB_SERVICE_IP}:80)", "wget: download timed out"]),
        (
            "http://www.example.com",
            [f"Connecting to www.example.com ({EXAMPLE_COM}:80)", "wget: download timed out"],
        ),
        ("icmp://google.com", [f"PING google.com ({GOOGLE_COM}): 56 data bytes", "(no reply)"]),
    ],
)
def test_with_lookups_allowed_the_connection_is_the_cause(url, printed):
    found = path(recipe("dns"), url)
    assert found.steps[found.failed].kind == "connect"
    assert "no rule allows it, nearest default/foo-deny-egress egress[0]" in found.cause
    assert list(found.symptom) == printed


def test_rule_45_port_53_without_to_is_warned_about():
    (warning,) = path(recipe("dns"), "http://web").warnings
    assert warning.startswith(
        "default/foo-deny-egress egress[0] allows port 53 of every host, not only of kube-dns"
    )
    assert path(recipe("dns"), "93.184.216.34:53").allowed


def test_rule_45_port_53_to_kube_dns_only_is_not_warned_about():
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    narrow = policy("dns-only", {**FOO, "egress": [{"to": [peer], "ports": ports}]})
    found = path([*recipe_objects(), narrow], "http://web")
    assert found.steps[0].ok
    assert found.warnings == ()
    assert not path([*recipe_objects(), narrow], "93.184.216.34:53").allowed


def test_rule_45_lookups_by_udp_only_are_warned_about():
    udp = policy(
        "udp", {**FOO, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}, {"ports": [{"port": 80}]}]}
    )
    found = path([*recipe_objects(), udp], "http://web")
    assert found.allowed
    assert any("lookups by TCP are denied" in warning for warning in found.warnings)


def other_port(*rules: dict) -> list:
    api = pod("api", {"app": "api"}, "10.244.0.20", ports=[{"name": "http", "containerPort": 8000}])
    front = service(
        "api", {"app": "api"}, "10.96.0.77", {"port": 8001, "protocol": "TCP", "targetPort": "http"}
    )
    return [*recipe_objects(), api, front, policy("rules", {**FOO, "egress": list(rules)})]


DNS_RULE = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def test_rule_23_a_rule_with_the_services_port_misses_and_the_warning_says_so():
    found = path(other_port(DNS_RULE, {"ports": [{"port": 8001}]}), "http://api:8001/")
    assert not found.allowed
    assert any("lists port 8001, which is Service default/api's" in warning for warning in found.warnings)
    assert path(other_port(DNS_RULE, {"ports": [{"port": 8000}]}), "http://api:8001/").allowed


def test_rule_39_a_block_with_the_services_address_misses_and_the_warning_says_so():
    found = path(other_port(DNS_RULE, {"to": [{"ipBlock": {"cidr": "10.96.0.0/12"}}]}), "http://api:8001/")
    assert not found.allowed
    assert any(
        "covers 10.96.0.77, the address of Service default/api" in warning for warning in found.warnings
    )
    assert path(
        other_port(DNS_RULE, {"to": [{"ipBlock": {"cidr": "10.244.0.0/16"}}]}), "http://api:8001/"
    ).allowed


def test_a_rule_that_misses_for_another_reason_is_not_warned_about():
    elsewhere = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]}
    narrow = policy("rules", {**FOO, "egress": [elsewhere, {"ports": [{"port": 53, "protocol": "UDP"}]}]})
    found = path([*recipe_objects(), narrow], "http://web/")
    assert not found.allowed
    assert not any("lists port" in warning for warning in found.warnings)


def test_no_kube_dns_pod_is_no_policys_fault():
    world = [
        each
        for each in recipe_objects("dns")
        if getattr(each, "ref", None) != DNS_SERVICE or each.__class__ is not Pod
    ]
    found = path(world, "http://web/")
    assert found.failed == 0
    assert (
        found.cause == "lookup of web: Service kube-system/kube-dns has no endpoints: no policy is to blame"
    )
    assert not any("lookups by TCP" in warning for warning in found.warnings)


def test_rule_45_dns_pods_that_listen_elsewhere_need_a_rule_for_their_own_port():
    kept = [each for each in recipe_objects("dns") if each.metadata.name != "kube-dns"]
    dns = {"k8s-app": "kube-dns"}
    front = [
        {"port": 53, "protocol": protocol, "name": protocol.lower(), "targetPort": 5353}
        for protocol in ("UDP", "TCP")
    ]
    world = [
        *kept,
        pod("kube-system/dns", dns, "10.244.0.3"),
        service("kube-system/kube-dns", dns, "10.96.0.10", *front),
    ]
    found = path(world, "http://web/")
    assert found.failed == 0
    assert any(
        "lists port 53, which is Service kube-system/kube-dns's" in warning for warning in found.warnings
    )


def test_lookups_that_fail_are_not_warned_about_twice():
    assert path(recipe("deny-all"), "http://web/").warnings == ()


def test_an_address_that_does_not_decide_is_not_warned_about():
    block = {"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}
    found = path(other_port(DNS_RULE, block, {"ports": [{"port": 80}]}), "http://elsewhere.example/")
    assert found.allowed
    assert not any("it decides" in text for text in found.warnings)


def test_pods_with_ipv6_only_are_judged_by_it():
    block = policy("six", {**FOO, "egress": [{"to": [{"ipBlock": {"cidr": "fd00::/16"}}]}]})
    both = pod("test", {"app": "foo"}, "10.244.0.11", "fd00::11")
    world = [*recipe_objects(), both, pod("six", {}, "fd00::6", ports=[{"containerPort": 80}]), block]
    found = path(world, "pod/six")
    assert found.allowed
    assert found.symptom == ("Connecting to [fd00::6]:80 ([fd00::6]:80)",)


def test_host_network_pods_that_ask_kube_dns_are_judged_like_their_node():
    raw = msgspec.to_builtins(pod("host", {"app": "foo"}, "172.30.0.1", host_network=True))
    raw["spec"]["dnsPolicy"] = "ClusterFirstWithHostNet"
    world = [*recipe_objects("deny-all"), msgspec.convert(raw, Pod)]
    found = path(world, "http://web/", source="host")
    assert found.steps[0].attempts


def test_rule_44_a_service_without_endpoints_refuses_whatever_the_policies():
    world = [
        *recipe_objects(),
        service("empty", {"app": "none"}, "10.96.0.88", {"port": 80, "protocol": "TCP"}),
    ]
    found = path(world, "http://empty/")
    assert found.cause.endswith("has no ready endpoints: no policy is to blame")
    assert found.symptom == (
        "Connecting to empty (10.96.0.88:80)",
        "wget: can't connect to remote host (10.96.0.88): Connection refused",
    )


def test_rule_42_an_external_name_is_a_host_outside():
    alias = msgspec.structs.replace(
        service("alias", None, ""),
        spec=msgspec.structs.replace(
            service("alias", None, "").spec, type="ExternalName", external_name="www.example.com"
        ),
    )
    found = path([*recipe_objects("dns"), alias], "http://alias/")
    assert outline(found) == [("lookup", True), ("connect", False)]
    assert found.symptom[0] == f"Connecting to alias ({EXAMPLE_COM}:80)"


def test_rule_43_a_headless_service_is_reached_on_the_port_that_is_written():
    front = service("head", {"app": "web"}, "None", {"port": 9, "protocol": "TCP", "targetPort": 80})
    found = path([*recipe_objects(), front], "http://head:8080/")
    assert found.steps[-1].attempts[0].flow.port == 8080
    assert found.symptom == ("Connecting to head:8080 (10.244.0.10:8080)",)


def test_endpoint_slices_decide_who_is_behind_a_service():
    listed = pod("listed", {"app": "other"}, "10.244.0.30")
    entries = endpoint_slice("web", [listed], {"name": "", "port": 8080, "protocol": "TCP"})
    found = path([*recipe_objects(), listed, entries], "http://web/")
    assert [(str(a.flow.destination), a.flow.port) for a in found.steps[-1].attempts] == [
        ("pod default/listed", 8080)
    ]


def test_one_denied_backend_of_two_fails_some_connections():
    second = pod("web2", {"app": "web", "closed": "yes"}, "10.244.0.31")
    closed = policy("closed", {"podSelector": {"matchLabels": {"closed": "yes"}}})
    found = path([*recipe_objects(), second, closed], "http://web/")
    assert not found.allowed
    assert "denied for 1 of 2 backends" in found.cause


def test_the_servers_ingress_counts_too():
    closed = policy("closed", {"podSelector": {"matchLabels": {"app": "web"}}})
    found = path([*recipe_objects(), closed], "pod/web:80")
    assert found.cause.startswith(
        "connection to web TCP 80: pod default/test -> pod default/web TCP 80: denied, ingress"
    )
    assert found.symptom[0] == "Connecting to 10.244.0.10:80 (10.244.0.10:80)"


def test_names_in_other_namespaces_are_found_by_the_search_list():
    world = [
        *recipe_objects(),
        namespace("other"),
        pod("other/api", {"a": "b"}, "10.244.0.40"),
        service("other/api", {"a": "b"}, "10.96.0.99", {"port": 80, "protocol": "TCP"}),
    ]
    for target in (
        "http://api.other/",
        "http://api.other.svc.cluster.local/",
        "other:svc/api",
        "10.96.0.99:80",
    ):
        found = path(world, target)
        assert found.allowed
        assert str(found.steps[-1].attempts[0].flow.destination) == "pod other/api"
    assert path(world, "http://api.other/").steps[0].questions == (
        "api.other.default.svc.cluster.local",
        "api.other.svc.cluster.local",
    )
    assert path(world, "other:svc/api:81").symptom[0] == "Connecting to api.other:81 (10.96.0.99:81)"


def test_a_name_nobody_has_is_no_policys_fault():
    found = path(recipe(), "http://nosuch/")
    assert not found.allowed
    assert "no Service of that name" in found.cause
    assert found.symptom == ("wget: bad address 'nosuch'",)


def test_an_address_nobody_told_us_is_judged_with_a_warning_when_it_decides():
    assert (
        path(recipe("dns"), "http://elsewhere.example/").symptom[0]
        == "Connecting to elsewhere.example (ADDRESS:80)"
    )
    block = {"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}
    found = path(other_port(DNS_RULE, block), "http://elsewhere.example/")
    assert found.undecided
    assert not found.allowed
    assert "give it with --resolve elsewhere.example=IP" in found.cause
    assert "203.0.113.1" not in str(found)


def test_without_kube_dns_in_the_input_the_usual_one_is_assumed():
    world = [node(), pod("test", {"app": "foo"}), policy("deny", {**FOO})]
    found = path(world, "www.example.com:80")
    assert found.failed == 0
    assert found.warnings[0].startswith("no kube-dns in the input: assumed")


def test_a_host_network_pod_asks_the_resolver_of_its_node():
    world = [*recipe_objects("deny-all"), pod("host", {"app": "foo"}, "172.30.0.1", host_network=True)]
    found = path(world, "http://web/", source="host")
    assert not found.allowed
    assert "does not know cluster names" in found.steps[0].detail
    away = path(world, "http://www.example.com/", source="host")
    assert away.allowed
    assert "not judged" in away.warnings[0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("svc/nosuch", "service default/nosuch does not exist"),
        ("pod/test", "pod default/test declares no TCP port; write pod/test:PORT"),
        ("10.0.0.1", "names no port"),
        ("www.example.com", "names no port"),
        ("http://web:99999/", "the port must be a number from 1 to 65535"),
        ("pvc/web", "kind 'pvc' is not known here"),
        ("web:80/icmp", "protocol must be tcp, udp or sctp"),
        ("ftp://web/", "scheme 'ftp' is not known"),
        ("web:", "a port is missing"),
        ("a b", "is neither a name nor an address"),
        ("1.2.3.4.5:80", "is neither a name nor an address"),
    ],
)
def test_bad_targets_are_errors_in_words(target, message):
    with pytest.raises(TargetError, match=message):
        path(recipe(), target)


def test_pods_that_are_not_there_are_errors_in_words():
    with pytest.raises(UnknownPodError, match="pod default/nobody does not exist"):
        path(recipe(), "http://web/", source="nobody")
    with pytest.raises(UnknownPodError, match="pod default/nobody does not exist"):
        path(recipe(), "pod/nobody:80")


def test_a_path_survives_json():
    found = path(recipe("dns"), "http://web:80/")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Path) == found


def exposed(kind: str, policy_kind: str = "", **status) -> list:
    spec = {
        "type": kind,
        "selector": {"app": "web"},
        "clusterIP": "10.96.0.77",
        "ports": [{"port": 80, "targetPort": 80, "nodePort": 30080}],
        "externalTrafficPolicy": policy_kind,
        "externalIPs": ["198.51.100.9"],
    }
    raw = {"metadata": {"name": "front", "namespace": "default"}, "spec": spec, "status": status}
    return [*recipe_objects(), msgspec.convert(raw, Service)]


@pytest.mark.parametrize(
    "target", ["172.30.0.1:30080", "node/lab-node-1:30080", "198.51.100.9:80", "192.0.2.1:80"]
)
def test_rule_41_a_nodes_port_and_a_balancers_address_are_the_pod_behind(target):
    world = exposed("LoadBalancer", loadBalancer={"ingress": [{"ip": "192.0.2.1"}]})
    found = path(world, target)
    assert outline(found) == [("translate", True), ("connect", True)]
    assert found.steps[0].detail.endswith("is pod default/web port 80")
    assert found.steps[1].attempts[0].flow.port == 80
    assert f":{target.rpartition(':')[2]}" in found.symptom[0]


def test_rule_41_another_port_of_the_node_is_the_node():
    found = path(exposed("NodePort"), "172.30.0.1:30081")
    assert outline(found) == [("connect", True)]


def outside(world: list, target: str, address: str = "203.0.113.7") -> Path:
    end = AddressEndpoint(*parse_address(address), address)
    return trace(ClusterState.of(world), query(end, target, {}))


ONLY_OUTSIDE = policy(
    "web",
    {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}],
    },
)


def test_a_host_outside_is_judged_by_ingress_alone():
    world = [*recipe_objects("deny-all"), ONLY_OUTSIDE]
    assert outside(world, "pod/web:80").allowed
    assert outline(outside(world, "pod/web:80")) == [("connect", True)]
    refused = outside(world, "pod/web:80", "198.51.100.1")
    assert not refused.allowed
    assert "198.51.100.1 -> pod default/web TCP 80: denied, ingress of pod default/web" in refused.cause


@pytest.mark.parametrize(
    ("world", "warning"),
    [
        (recipe_objects(), "is of type ClusterIP, which hosts outside the cluster cannot reach"),
        (exposed("NodePort", "Cluster"), "has externalTrafficPolicy Cluster"),
        (exposed("NodePort", "Local"), ""),
    ],
)
def test_rule_41_whose_address_the_pod_sees(world, warning):
    target = "svc/web:80" if len(world) == len(recipe_objects()) else "svc/front:80"
    found = outside(world, target)
    assert found.allowed
    assert [warning in each for each in found.warnings] == ([True] if warning else [])


def test_names_mean_nothing_to_a_host_outside():
    with pytest.raises(TargetError, match="names mean nothing to a host outside"):
        outside(recipe_objects(), "http://web/")


def test_a_path_from_outside_survives_json():
    found = outside(recipe_objects(), "pod/web:80")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Path) == found
