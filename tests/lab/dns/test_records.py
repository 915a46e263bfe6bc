"""Names to answers: the Kubernetes DNS specification, point by point."""

import pytest

from stockade.lab.dns.records import Answer, Record, cluster_zone, outside_zone

DOMAIN = "cluster.local"


def service(name, namespace="default", **spec):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoint_slice(service_name, endpoints, ports=(), namespace="default"):
    return {
        "metadata": {
            "name": f"{service_name}-abcde",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports),
    }


def pod(name, ip, namespace="default", phase="Running", **spec):
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": spec, "status": {"podIP": ip, "phase": phase}}


HTTP = {"name": "http", "protocol": "TCP", "port": 8080}

SERVICES = [
    service(
        "web",
        clusterIP="10.96.0.5",
        clusterIPs=["10.96.0.5"],
        ports=[{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    ),
    service("db", "shop", clusterIP="None", ports=[{"name": "http", "port": 8080}]),
    service("empty", clusterIP="None", ports=[{"name": "http", "port": 80}]),
    service("bare", clusterIP="None"),
    service("mirror", type="ExternalName", externalName="www.example.com"),
    service("nowhere", type="ExternalName", externalName="nosuch.invalid."),
    service("alias", type="ExternalName", externalName="web.default.svc.cluster.local"),
    service("loop", type="ExternalName", externalName="loop.default.svc.cluster.local"),
    service("pending", ports=[{"name": "http", "port": 80}]),
]
SLICES = [
    endpoint_slice(
        "db",
        [
            {
                "addresses": ["10.244.0.7"],
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "db-0"},
            },
            {"addresses": ["10.244.0.8"], "conditions": {"ready": True}},
            {"addresses": ["10.244.0.9"], "conditions": {"ready": False}},
        ],
        [HTTP],
        "shop",
    ),
    endpoint_slice("empty", [{"addresses": ["10.244.0.9"], "conditions": {"ready": False}}], [HTTP]),
    endpoint_slice("bare", [{"addresses": ["10.244.0.6"], "hostname": "left"}]),
]
PODS = [
    pod("db-0", "10.244.0.7", "shop", hostname="zero", subdomain="db"),
    pod("done", "10.244.0.20", phase="Succeeded"),
    pod("waiting", None),
]
OUTSIDE = {"www.example.com": "93.184.216.34", "example.com": "93.184.216.34"}


@pytest.fixture(scope="module")
def zone():
    return cluster_zone(SERVICES, SLICES, PODS, DOMAIN, OUTSIDE)


def values(answer, kind):
    return sorted(record.value for record in answer.records if record.kind == kind)


@pytest.mark.parametrize("name", ["web.default.svc.cluster.local", "WEB.Default.svc.cluster.local."])
def test_a_service_is_its_cluster_ip(zone, name):
    expected = Record("web.default.svc.cluster.local", "A", "10.96.0.5")
    assert zone.answer(name, "A") == Answer("NOERROR", (expected,))


@pytest.mark.parametrize("kind", ["AAAA", "MX", "SRV", "CNAME"])
def test_another_type_of_an_existing_name_is_empty_and_no_error(zone, kind):
    answer = zone.answer("web.default.svc.cluster.local", kind)
    assert (answer.code, answer.records) == ("NOERROR", ())
    assert answer.authority is not None
    assert answer.authority.kind == "SOA"


@pytest.mark.parametrize(
    "name",
    [
        "nosuch.default.svc.cluster.local",
        "web.svc.cluster.local",
        "web.cluster.local",
        "web",
        "www.example.com.default.svc.cluster.local",
        "pending.default.svc.cluster.local",
        "nosuch.example.com",
        "com",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_unknown_names_do_not_exist(zone, name, kind):
    assert zone.answer(name, kind).code == "NXDOMAIN"


@pytest.mark.parametrize("name", ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"])
def test_names_above_existing_names_exist(zone, name):
    answer = zone.answer(name, "A")
    assert (answer.code, answer.records) == ("NOERROR", ())


def test_named_ports_have_srv_records_and_the_target_comes_along(zone):
    answer = zone.answer("_http._tcp.web.default.svc.cluster.local", "SRV")
    assert values(answer, "SRV") == ["0 100 80 web.default.svc.cluster.local."]
    assert [record.value for record in answer.additional] == ["10.96.0.5"]


def test_ports_without_a_name_have_none(zone):
    assert zone.answer("_._udp.web.default.svc.cluster.local", "SRV").code == "NXDOMAIN"


def test_a_headless_service_is_its_ready_endpoints(zone):
    assert values(zone.answer("db.shop.svc.cluster.local", "A"), "A") == ["10.244.0.7", "10.244.0.8"]


def test_a_headless_service_without_ready_endpoints_does_not_exist(zone):
    assert zone.answer("empty.default.svc.cluster.local", "A").code == "NXDOMAIN"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("zero.db.shop.svc.cluster.local", "10.244.0.7"),  # spec.hostname and spec.subdomain of the pod
        ("10-244-0-8.db.shop.svc.cluster.local", "10.244.0.8"),
        ("left.bare.default.svc.cluster.local", "10.244.0.6"),  # hostname in the slice; Service without ports
    ],
)
def test_endpoints_of_headless_services_have_names(zone, name, address):
    assert values(zone.answer(name, "A"), "A") == [address]


def test_srv_of_a_headless_service_names_each_endpoint_and_its_target_port(zone):
    answer = zone.answer("_http._tcp.db.shop.svc.cluster.local", "SRV")
    assert values(answer, "SRV") == [
        "0 50 8080 10-244-0-8.db.shop.svc.cluster.local.",
        "0 50 8080 zero.db.shop.svc.cluster.local.",
    ]
    assert sorted(record.value for record in answer.additional) == ["10.244.0.7", "10.244.0.8"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("5.0.96.10.in-addr.arpa", "web.default.svc.cluster.local."),
        ("7.0.244.10.in-addr.arpa", "zero.db.shop.svc.cluster.local."),
    ],
)
def test_reverse_names(zone, name, expected):
    answer = zone.answer(name, "PTR")
    assert values(answer, "PTR") == [expected]
    assert answer.authoritative


@pytest.mark.parametrize("name", ["9.9.9.9.in-addr.arpa", "0.96.10.in-addr.arpa"])
def test_reverse_names_of_other_addresses_do_not_exist(zone, name):
    assert zone.answer(name, "PTR") == Answer("NXDOMAIN", authoritative=False)


def test_an_external_name_is_an_alias_and_the_target_is_resolved(zone):
    answer = zone.answer("mirror.default.svc.cluster.local", "A")
    assert [(r.kind, r.value) for r in answer.records] == [
        ("CNAME", "www.example.com."),
        ("A", "93.184.216.34"),
    ]


def test_an_external_name_within_the_cluster_is_resolved_too(zone):
    assert values(zone.answer("alias.default.svc.cluster.local", "A"), "A") == ["10.96.0.5"]


def test_an_external_name_that_leads_nowhere_does_not_exist(zone):
    answer = zone.answer("nowhere.default.svc.cluster.local", "A")
    assert (answer.code, values(answer, "CNAME")) == ("NXDOMAIN", ["nosuch.invalid."])


def test_an_alias_of_itself_ends(zone):
    assert zone.answer("loop.default.svc.cluster.local", "A").code == "NOERROR"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("10-244-0-7.shop.pod.cluster.local", "NOERROR"),
        ("10-244-0-7.default.pod.cluster.local", "NXDOMAIN"),
        ("10-244-0-20.default.pod.cluster.local", "NXDOMAIN"),
    ],
)
def test_pod_names_are_those_of_living_pods(zone, name, code):
    assert zone.answer(name, "A").code == code


def test_the_schema_version(zone):
    assert values(zone.answer("dns-version.cluster.local", "TXT"), "TXT") == ['"1.1.0"']


def test_the_simulated_internet_alone():
    zone = outside_zone(OUTSIDE)
    answer = zone.answer("www.example.com", "A")
    assert values(answer, "A") == ["93.184.216.34"]
    assert not answer.authoritative
    assert zone.answer("www.example.com", "AAAA").code == "NOERROR"
    assert zone.answer("web.default.svc.cluster.local", "A").code == "NXDOMAIN"


def test_both_families_of_services_endpoints_and_pods():
    services = [
        service("dual", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7", "fd00:10:96::7"], ports=[]),
        service("six", clusterIP="fd00:10:96::8", clusterIPs=["fd00:10:96::8"], ports=[]),
        service("headless", clusterIP="None", ports=[{"name": "http", "port": 80}]),
    ]
    addresses = ("10.244.0.7", "fd00:10:244::7")
    slices = [endpoint_slice("headless", [{"addresses": [ip]}], [HTTP]) for ip in addresses]
    slices[1]["addressType"] = "IPv6"
    status = {"podIP": addresses[0], "podIPs": [{"ip": ip} for ip in addresses], "phase": "Running"}
    pods = [{"metadata": {"name": "a", "namespace": "default"}, "spec": {}, "status": status}]
    zone = cluster_zone(services, slices, pods, DOMAIN, {"six.example": "2001:db8::6"})
    base = "default.svc.cluster.local"
    assert values(zone.answer(f"dual.{base}", "A"), "A") == ["10.96.0.7"]
    assert values(zone.answer(f"dual.{base}", "AAAA"), "AAAA") == ["fd00:10:96::7"]
    assert zone.answer(f"six.{base}", "A").code == "NOERROR"
    assert zone.answer(f"six.{base}", "A").records == ()
    assert values(zone.answer(f"headless.{base}", "A"), "A") == ["10.244.0.7"]
    assert values(zone.answer(f"headless.{base}", "AAAA"), "AAAA") == ["fd00:10:244::7"]
    srv = zone.answer(f"_http._tcp.headless.{base}", "SRV")
    assert {(r.kind, r.value) for r in srv.additional} == {("A", "10.244.0.7"), ("AAAA", "fd00:10:244::7")}
    assert values(zone.answer("fd00-10-244--7.default.pod.cluster.local", "AAAA"), "AAAA") == [
        "fd00:10:244::7"
    ]
    assert values(zone.answer("six.example", "AAAA"), "AAAA") == ["2001:db8::6"]
    reverse = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa"
    assert values(zone.answer(reverse, "PTR"), "PTR") == [f"dual.{base}."]
