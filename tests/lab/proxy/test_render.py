"""Services to nftables text, without a kernel."""

import pytest

from stockade.lab.proxy.render import Outward, render
from stockade.lab.proxy.targets import IPV6, Target, cluster_ips, lost_flows, targets


def service(name="web", namespace="default", status=None, **spec):
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80, "protocol": "TCP"}], **spec},
        "status": status or {},
    }


def endpoint_slice(addresses, ports, service_name="web", ready=True, family="IPv4"):
    return {
        "metadata": {
            "name": "web-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": family,
        "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}} for ip in addresses],
        "ports": ports,
    }


UNNAMED = [{"port": 8080, "protocol": "TCP"}]


def test_a_service_port_and_its_endpoints_meet():
    slices = [endpoint_slice(["10.244.0.3", "10.244.0.2"], UNNAMED)]
    assert targets([service()], slices) == [
        Target(
            "default",
            "web",
            "tcp",
            80,
            (("10.96.0.5", 80),),
            (("10.244.0.2", 8080), ("10.244.0.3", 8080)),
        )
    ]


def test_ports_meet_by_name_and_protocol():
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "a", "port": 3, "protocol": "UDP"}]
    slices = [
        endpoint_slice(
            ["10.244.0.2"],
            [
                {"name": "b", "port": 22, "protocol": "TCP"},
                {"name": "a", "port": 11, "protocol": "TCP"},
                {"name": "a", "port": 33, "protocol": "UDP"},
            ],
        )
    ]
    found = {(t.port, t.protocol): t.endpoints[0][1] for t in targets([service(ports=ports)], slices)}
    assert found == {(1, "tcp"): 11, (2, "tcp"): 22, (3, "udp"): 33}


@pytest.mark.parametrize(
    "slices",
    [
        [],
        [endpoint_slice(["10.244.0.2"], UNNAMED, ready=False)],
        [endpoint_slice(["10.244.0.2"], UNNAMED, service_name="other")],
        [endpoint_slice(["fd00::2"], UNNAMED, family="IPv6")],
    ],
)
def test_a_service_may_have_no_endpoints(slices):
    (target,) = targets([service()], slices)
    assert target.endpoints == ()
    text = render([target], ["10.96.0.5"], "10.96.0.0/12")
    no_endpoints = text.split("set no-endpoints {")[1].split("\t}\n")[0]
    assert "10.96.0.5 . tcp . 80" in no_endpoints
    assert "goto svc-" not in text


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": ""},
        {"type": "ExternalName", "externalName": "example.com", "clusterIP": ""},
        {"ports": [{"port": 80, "protocol": "QUIC"}]},
    ],
)
def test_services_without_an_address_have_no_targets(spec):
    assert targets([service(**spec)], []) == []


def test_node_ports_and_external_addresses_are_doors_too():
    wanted = service(
        type="LoadBalancer",
        ports=[{"port": 80, "nodePort": 30080}],
        externalIPs=["198.51.100.7"],
        status={"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}, {"hostname": "lb.example.com"}]}},
    )
    (found,) = targets([wanted], [], ["172.30.0.1"])
    assert found.doors == (
        ("10.96.0.5", 80),
        ("198.51.100.7", 80),
        ("198.51.100.8", 80),
        ("172.30.0.1", 30080),
    )


def test_the_order_of_objects_does_not_matter():
    services = [service("b"), service("a", clusterIP="10.96.0.6")]
    assert targets(services, []) == targets(services[::-1], [])
    assert cluster_ips(services) == ["10.96.0.5", "10.96.0.6"]


def rules(text, chain):
    return text.split(f"chain {chain} {{\n")[1].split("\t}")[0].strip().splitlines()


def target(endpoints, **more):
    return Target("default", "web", "tcp", 80, (("10.96.0.5", 80),), endpoints, **more)


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        (target((("10.244.0.2", 8080),)), "meta l4proto tcp dnat to 10.244.0.2:8080"),
        (
            target((("10.244.0.2", 80), ("10.244.0.3", 81))),
            "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 80, 1 : 10.244.0.3 . 81 }",
        ),
    ],
)
def test_translation(wanted, rule):
    text = render([wanted], ["10.96.0.5"], "10.96.0.0/12")
    assert rules(text, wanted.chain) == [rule]
    assert f"10.96.0.5 . tcp . 80 : goto {wanted.chain}" in text


def test_the_table_is_replaced_in_one_transaction():
    text = render([], [], "10.96.0.0/12")
    assert text.startswith(
        "add table ip stockade-proxy\ndelete table ip stockade-proxy\ntable ip stockade-proxy {"
    )
    assert "elements" not in text
    assert "table inet" not in text


def test_two_services_that_claim_one_address_and_port_do_not_break_the_table():
    first = target((("10.244.0.2", 80),))
    second = Target("default", "xeb", "tcp", 80, (("10.96.0.5", 80),), (("10.244.0.3", 80),))
    text = render([first, second], ["10.96.0.5"], "10.96.0.0/12")
    assert text.count("10.96.0.5 . tcp . 80") == 1


def test_names_become_chain_names_that_nft_reads():
    odd = Target('a"; flush ruleset; "', "x y", "tcp", 80, (), ())
    assert odd.chain == "svc-a___flush_ruleset___/x_y/tcp/80"


def udp(endpoints, door=("10.96.0.10", 53)):
    return Target("kube-system", "kube-dns", "udp", 53, (door,), endpoints)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ([], [udp((("10.244.0.2", 53),))], {}),
        ([udp((("10.244.0.2", 53),))], [udp((("10.244.0.2", 53), ("10.244.0.3", 53)))], {}),
        (
            [udp((("10.244.0.2", 53), ("10.244.0.3", 53)))],
            [udp((("10.244.0.3", 53),))],
            {("10.96.0.10", 53): frozenset({("10.244.0.3", 53)})},
        ),
        ([udp((("10.244.0.2", 53),))], [udp(())], {("10.96.0.10", 53): frozenset()}),
        ([udp((("10.244.0.2", 53),))], [], {("10.96.0.10", 53): frozenset()}),
        ([target((("10.244.0.2", 53),))], [], {}),
    ],
)
def test_flows_to_lose_are_udp_flows_whose_endpoint_went(before, after, lost):
    assert lost_flows(before, after) == lost


HOSTILE = (
    '1.2.3.4:80; } ; flush ruleset; #"',
    "1.2.3.4\n}\nflush ruleset\n",
    "@set",
    "::1",
    "",
    "10.0.0.0/8",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_a_user_wrote_reaches_nft_as_it_is(text):
    """Names are folded to harmless letters, and what is no address is left out, alone."""
    named = [{"name": text, "port": 8080, "protocol": "TCP"}]
    slices = [
        endpoint_slice(["10.244.0.2", text], [*UNNAMED, *named]),
        endpoint_slice([text], UNNAMED, service_name=text),
    ]
    services = [
        service(externalIPs=[text], status={"loadBalancer": {"ingress": [{"ip": text}]}}),
        service(name=text, namespace=text, ports=[{"name": text, "port": 80, "protocol": text}]),
        service(name="odd", clusterIP=text, clusterIPs=[text]),
        service(name=text, namespace=text),
    ]
    wanted = targets(services, slices)
    rendered = render(wanted, cluster_ips(services), "10.96.0.0/12")
    assert "dnat to 10.244.0.2:8080" in rendered
    assert not text or text not in rendered
    allowed = {
        "add",
        "delete",
        "table",
        "set",
        "map",
        "chain",
        "type",
        "elements",
        "}",
        "goto",
        "ip",
        "meta",
        "reject",
        "ct",
    }
    for line in filter(None, map(str.strip, rendered.splitlines())):
        first = line.split()[0]
        assert first in allowed or first[0].isdigit(), line


def test_each_family_has_its_own_table_of_its_own_addresses():
    dual = service(clusterIPs=["10.96.0.5", "fd00:10:96::5"], ports=[{"port": 80, "nodePort": 30080}])
    slices = [
        endpoint_slice(["10.244.0.2"], UNNAMED),
        endpoint_slice(["fd00:10:244::2", "FD00:10:244:0::3"], UNNAMED, family="IPv6"),
    ]
    nodes = ["172.30.0.1", "fd00:172:30::1"]
    (four,), (six,) = targets([dual], slices, nodes), targets([dual], slices, nodes, IPV6)
    assert four.doors == (("10.96.0.5", 80), ("172.30.0.1", 30080))
    assert four.endpoints == (("10.244.0.2", 8080),)
    assert six.doors == (("fd00:10:96::5", 80), ("fd00:172:30::1", 30080))
    assert six.endpoints == (("fd00:10:244::2", 8080), ("fd00:10:244::3", 8080))
    assert cluster_ips([dual], IPV6) == ["fd00:10:96::5"]
    text = render([six], ["fd00:10:96::5"], "fd00:10:96::/112", IPV6)
    assert text.startswith("add table ip6 stockade-proxy\n")
    assert rules(text, six.chain) == [
        "meta l4proto tcp dnat ip6 to numgen random mod 2 map { 0 : fd00:10:244::2 . 8080, 1 : fd00:10:244::3 . 8080 }"
    ]
    single = Target("default", "web", "tcp", 80, (("fd00:10:96::5", 80),), (("fd00:10:244::2", 8080),))
    text = render([single], [], "fd00:10:96::/112", IPV6)
    assert rules(text, single.chain) == ["meta l4proto tcp dnat to [fd00:10:244::2]:8080"]
    assert " ip daddr" not in text
    assert "icmp type" not in text


def test_one_address_in_two_spellings_is_one_door():
    services = [service("a", clusterIPs=["fd00::5"]), service("b", clusterIPs=["FD00:0::5"])]
    text = render(targets(services, [], family=IPV6), cluster_ips(services, IPV6), "fd00::/112", IPV6)
    assert text.count("fd00::5 . tcp . 80") == 1


def test_only_strangers_connections_to_other_nodes_change_their_source():
    outward = Outward("outside0", "172.30.0.1", "10.244.0.0/24")
    text = render([], [], "10.96.0.0/12", outward=outward)
    expected = 'ct status dnat oifname "outside0" ip saddr != 10.244.0.0/24 ip saddr != 172.30.0.1 snat to 172.30.0.1'
    assert rules(text, "nat-postrouting")[-1].strip() == expected
    assert "snat" not in render([], [], "10.96.0.0/12")


def placed(node="a", **conditions):
    """Endpoints on two nodes."""
    entry = endpoint_slice([], UNNAMED)
    entry["endpoints"] = [
        {"addresses": ["10.244.0.2"], "nodeName": "a"},
        {"addresses": ["10.244.1.2"], "nodeName": "b"},
    ]
    entry["endpoints"] = [each for each in entry["endpoints"] if node in ("", each["nodeName"])]
    for each in entry["endpoints"]:
        each["conditions"] = conditions
    return entry


ON_A, ON_B = ("10.244.0.2", 8080), ("10.244.1.2", 8080)
DOORS = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}


def by_kind(node="a", slices=None, **spec):
    found = targets([service(**spec)], [placed("")] if slices is None else slices, ["172.30.0.1"], node=node)
    return {target.kind: target for target in found}


def test_external_traffic_stays_on_the_node_and_clients_inside_go_anywhere():
    found = by_kind(externalTrafficPolicy="Local", **DOORS)
    assert found[""].endpoints == (ON_A, ON_B)
    assert found[""].doors == (("10.96.0.5", 80),)
    outer = found["external"]
    assert (outer.endpoints, outer.inside, outer.dropped) == ((ON_A,), (ON_A, ON_B), False)
    assert outer.doors == (("172.30.0.1", 30080),)
    text = render(found.values(), ["10.96.0.5"], "10.96.0.0/12")
    inside = f"{outer.chain}/inside"
    assert rules(text, outer.chain) == [
        f"ip saddr 10.244.0.0/16 goto {inside}",
        f"\t\tfib saddr type local goto {inside}",
        "\t\tmeta l4proto tcp dnat to 10.244.0.2:8080",
    ]


def test_without_an_endpoint_here_it_is_dropped_and_without_any_refused():
    outer = by_kind(node="c", externalTrafficPolicy="Local", **DOORS)["external"]
    assert (outer.endpoints, outer.dropped) == ((), True)
    text = render([outer], [], "10.96.0.0/12")
    assert "172.30.0.1 . tcp . 30080" in text.split("set no-local {")[1].split("\t}\n")[0]
    outer = by_kind(slices=[], externalTrafficPolicy="Local", **DOORS)["external"]
    assert not outer.dropped
    text = render([outer], [], "10.96.0.0/12")
    assert "172.30.0.1 . tcp . 30080" in text.split("set no-endpoints {")[1].split("\t}\n")[0]


def test_internal_traffic_stays_on_the_node():
    found = by_kind(internalTrafficPolicy="Local", **DOORS)
    assert (found[""].endpoints, found[""].inside) == ((ON_A,), ())
    assert found["external"].endpoints == (ON_A, ON_B)
    assert by_kind(node="c", internalTrafficPolicy="Local")[""].dropped


def test_endpoints_that_end_serve_where_none_is_ready():
    ending = placed("a", ready=False, serving=True, terminating=True)
    assert by_kind(slices=[ending])[""].endpoints == (ON_A,)
    assert by_kind(slices=[ending, placed("b")])[""].endpoints == (ON_B,)
    assert by_kind(slices=[placed("a", ready=False, serving=False, terminating=True)])[""].endpoints == ()


def test_source_ranges_guard_the_load_balancers_address_alone():
    balanced = service(
        type="LoadBalancer",
        ports=[{"port": 80, "nodePort": 30080}],
        loadBalancerSourceRanges=["192.0.2.0/25", " 192.0.2.128/25", "2001:db8::/32", "nonsense"],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}},
    )
    (found,) = targets([balanced], [placed()], ["172.30.0.1"])
    text = render([found], [], "10.96.0.0/12")
    assert rules(text, f"guard-{found.chain}") == ["ip saddr != { 192.0.2.0/24 } drop"]
    assert text.count(f"goto guard-{found.chain}") == 1
    assert f"203.0.113.1 . tcp . 80 : goto guard-{found.chain}" in text


def test_a_sticky_service_remembers_its_clients():
    sticky = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    (found,) = targets([sticky], [placed("")])
    first, second = f"{found.chain}/10.244.0.2/8080", f"{found.chain}/10.244.1.2/8080"
    text = render([found], [], "10.96.0.0/12", affinities={second: [("10.244.0.9", 41), ("10.244.0.8", 0)]})
    assert [line.strip() for line in rules(text, found.chain)] == [
        f"ip saddr @{first} goto {first}",
        f"ip saddr @{second} goto {second}",
        f"numgen random mod 2 vmap {{ 0 : goto {first}, 1 : goto {second} }}",
    ]
    assert [line.strip() for line in rules(text, second)] == [
        f"update @{second} {{ ip saddr }}",
        "meta l4proto tcp dnat to 10.244.1.2:8080",
    ]
    assert "elements = { 10.244.0.9 timeout 60s expires 41s }" in text
    assert "10.244.0.8" not in text
    assert "update" not in render(targets([sticky], [placed("a")]), [], "10.96.0.0/12")
