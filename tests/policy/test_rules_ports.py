"""Rules 23-33: ports, names of ports, protocols, ICMP. Each test names its rule."""

from __future__ import annotations

import msgspec
import pytest

from stockade.model.objects import Pod
from stockade.testing.ask import allowed, verdict
from stockade.testing.build import namespace, pod, policy


def named(name: str, number: int, protocol: str = "TCP") -> dict:
    return {"name": name, "containerPort": number, "protocol": protocol}


@pytest.fixture
def pods():
    first = [named("web", 80), named("dns", 53, "UDP")]
    second = [named("web", 8080), named("dns", 5353, "UDP")]
    return [
        namespace("x"),
        pod("x/client", {"app": "client"}, "10.244.0.1"),
        pod("x/first", {"app": "server"}, "10.244.0.2", ports=first),
        pod("x/second", {"app": "server"}, "10.244.0.3", ports=second),
    ]


def let_out(*ports: dict, **rule):
    spec = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]}
    return policy("x/out", {**spec, "egress": [{"ports": list(ports), **rule}]})


def let_in(*ports: dict):
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}
    return policy("x/in", {**spec, "ingress": [{"ports": list(ports)}]})


def open_ports(world: list, destination: str = "x/first") -> set[str]:
    asked = ("TCP 53", "TCP 80", "TCP 81", "TCP 8080", "UDP 53", "UDP 80", "UDP 5353", "SCTP 80", "ICMP")
    return {port for port in asked if allowed(world, "x/client", destination, port)}


ALL_TCP = {"TCP 53", "TCP 80", "TCP 81", "TCP 8080"}


def test_rule_23_the_port_is_the_destinations(pods):
    assert open_ports([*pods, let_out({"port": 80})]) == {"TCP 80"}
    assert open_ports([*pods, let_in({"port": 80})]) == {"TCP 80"}


def test_rule_24_no_protocol_is_tcp_no_port_is_every_port(pods):
    assert open_ports([*pods, let_in({"port": 53})]) == {"TCP 53"}
    assert open_ports([*pods, let_in({})]) == ALL_TCP
    assert open_ports([*pods, let_in({"protocol": "UDP"})]) == {"UDP 53", "UDP 80", "UDP 5353"}
    assert len(open_ports([*pods, let_in()])) == 9


@pytest.mark.parametrize("direction", [let_in, let_out])
def test_rule_25_a_name_is_resolved_on_each_destination(pods, direction):
    world = [*pods, direction({"port": "web"}, {"port": "dns", "protocol": "UDP"})]
    assert open_ports(world, "x/first") == {"TCP 80", "UDP 53"}
    assert open_ports(world, "x/second") == {"TCP 8080", "UDP 5353"}


@pytest.mark.parametrize("port", [{"port": "dns"}, {"port": "web", "protocol": "UDP"}, {"port": "nobody"}])
def test_rule_25_a_name_with_another_protocol_or_that_nobody_has_matches_nothing(pods, port):
    assert open_ports([*pods, let_in(port)]) == set()


def test_rule_25_the_proof_says_which_number_the_name_has(pods):
    miss = verdict([*pods, let_in({"port": "web"})], "x/client", "x/second", "TCP 80").ingress.misses[0]
    assert miss.detail == "TCP 80 is not among its ports (TCP web): web of pod x/second is 8080"


def test_rule_26_a_name_without_peers_means_pods_only(pods):
    world = [
        *pods,
        let_out({"port": "web"}),
        pod("x/host", {}, "172.30.0.1", ports=[named("web", 80)], host_network=True),
    ]
    assert allowed(world, "x/client", "x/first", "TCP 80")
    assert not allowed(world, "x/client", "192.0.2.1", "TCP 80")
    assert not allowed(world, "x/client", "172.30.0.1", "TCP 80")
    assert not allowed(world, "x/client", "x/host", "TCP 80")


def test_rule_26_a_name_with_a_block_peer_still_finds_the_pod_behind_the_address(pods):
    world = [*pods, let_out({"port": "web"}, to=[{"ipBlock": {"cidr": "10.244.0.0/24"}}])]
    assert allowed(world, "x/client", "x/first", "TCP 80")
    assert not allowed(world, "x/client", "10.244.0.99", "TCP 80")


def test_rule_27_names_of_sidecars_count_and_names_of_init_containers_do_not(pods):
    raw = msgspec.to_builtins(pods[2])
    raw["spec"]["initContainers"] = [
        {"name": "sidecar", "restartPolicy": "Always", "ports": [named("side", 81), named("web", 8080)]},
        {"name": "setup", "ports": [named("setup", 53)]},
    ]
    world = [pods[0], pods[1], msgspec.convert(raw, Pod)]
    assert open_ports([*world, let_in({"port": "side"})]) == {"TCP 81"}
    assert open_ports([*world, let_in({"port": "setup"})]) == set()
    assert open_ports([*world, let_in({"port": "web"})]) == {"TCP 80", "TCP 8080"}


def test_rule_28_a_number_needs_no_declaration(pods):
    assert open_ports([*pods, let_in({"port": 81})]) == {"TCP 81"}


def test_rule_29_end_port_is_inclusive_and_may_equal_port(pods):
    assert open_ports([*pods, let_in({"port": 80, "endPort": 8080})]) == {"TCP 80", "TCP 81", "TCP 8080"}
    assert open_ports([*pods, let_in({"port": 80, "endPort": 80})]) == {"TCP 80"}
    assert open_ports([*pods, let_in({"port": 54, "endPort": 79})]) == set()


def test_rule_30_sctp_isolates_and_is_never_tcp(pods):
    assert open_ports([*pods, let_in({"port": 80, "protocol": "SCTP"})]) == {"SCTP 80"}


def test_rule_31_udp_does_not_open_tcp(pods):
    assert open_ports([*pods, let_in({"port": 80, "protocol": "UDP"})]) == {"UDP 80"}


def test_rule_33_icmp_passes_only_rules_without_ports(pods):
    from_client = {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}
    with_peer = policy("x/in", {"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [from_client]})
    assert allowed([*pods, with_peer], "x/client", "x/first", "ICMP")
    assert not allowed([*pods, with_peer], "x/second", "x/first", "ICMP")
    every_port = [let_in({}, {"protocol": "UDP"}, {"protocol": "SCTP"})]
    assert not allowed([*pods, *every_port], "x/client", "x/first", "ICMP")
    miss = verdict([*pods, *every_port], "x/client", "x/first", "ICMP").ingress.misses[0]
    assert miss.detail == "ICMP passes only rules without ports, this one lists TCP, UDP, SCTP"
