"""The Kubernetes DNS specification 1.1.0, record by record: what each section asks for, and what the cluster's zone answers."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from stockade.lab.dns.records import cluster_zone

ZONE = "cluster.local"
BASE = f"ns.svc.{ZONE}"
HTTP, DNS = ({"name": "http", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53})


def service(name, **spec):
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec}


def endpoints(name, family, *entries, ports=(HTTP,)):
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-{family.lower()}", "namespace": "ns", "labels": labels}
    return {"metadata": metadata, "addressType": family, "endpoints": list(entries), "ports": list(ports)}


def at(address, **more):
    return {"addresses": [address], "conditions": {"ready": True}, **more}


SERVICES = [
    service("dual", clusterIPs=["10.96.0.7", "fd00::7"], ports=[HTTP, DNS, {"port": 81}]),
    service("head", clusterIP="None", ports=[{**HTTP, "targetPort": 8080}]),
    service("early", clusterIP="None", ports=[HTTP], publishNotReadyAddresses=True),
    service("out", type="ExternalName", externalName="db.example.com"),
    service("idle", clusterIPs=["10.96.0.8"], ports=[HTTP]),
]
SLICES = [
    endpoints(
        "head", "IPv4", at("10.244.0.5", hostname="a"), at("10.244.0.6"), ports=[{**HTTP, "port": 8080}]
    ),
    endpoints("head", "IPv6", at("fd00:244::5", hostname="a"), ports=[{**HTTP, "port": 8080}]),
    endpoints("early", "IPv4", at("10.244.0.9")),  # ready by publishNotReadyAddresses
]
POD = {
    "metadata": {"name": "p", "namespace": "ns"},
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.5",
        "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00:244::5"}],
    },
}
NXDOMAIN = object()

TABLE = [
    ("2.1 schema version", f"dns-version.{ZONE}", "TXT", ['"1.1.0"']),
    ("2.2.1 ClusterIP", f"dual.{BASE}", "A", ["10.96.0.7"]),
    ("2.2.1 ClusterIP", f"dual.{BASE}", "AAAA", ["fd00::7"]),
    ("2.2.1 without endpoints, too", f"idle.{BASE}", "A", ["10.96.0.8"]),
    ("2.2.1 the other family is empty, not missing", f"idle.{BASE}", "AAAA", []),
    ("2.2.2 SRV of a named port", f"_http._tcp.dual.{BASE}", "SRV", [f"0 100 80 dual.{BASE}."]),
    ("2.2.2 SRV over UDP", f"_dns._udp.dual.{BASE}", "SRV", [f"0 100 53 dual.{BASE}."]),
    ("2.2.2 the other protocol", f"_http._udp.dual.{BASE}", "SRV", NXDOMAIN),
    ("2.2.3 PTR", ip_address("10.96.0.7").reverse_pointer, "PTR", [f"dual.{BASE}."]),
    ("2.2.3 PTR, IPv6", ip_address("fd00::7").reverse_pointer, "PTR", [f"dual.{BASE}."]),
    ("2.3.1 headless", f"head.{BASE}", "A", ["10.244.0.5", "10.244.0.6"]),
    ("2.3.1 headless", f"head.{BASE}", "AAAA", ["fd00:244::5"]),
    ("2.3.1 hostname", f"a.head.{BASE}", "A", ["10.244.0.5"]),
    ("2.3.1 hostname", f"a.head.{BASE}", "AAAA", ["fd00:244::5"]),
    ("2.3.1 a name for each of the others", f"10-244-0-6.head.{BASE}", "A", ["10.244.0.6"]),
    ("2.3.1 a hostname nobody has", f"b.head.{BASE}", "A", NXDOMAIN),
    ("2.3.1 published before they are ready", f"early.{BASE}", "A", ["10.244.0.9"]),
    (
        "2.3.2 SRV of each endpoint, with its own port",
        f"_http._tcp.head.{BASE}",
        "SRV",
        [f"0 50 8080 10-244-0-6.head.{BASE}.", f"0 50 8080 a.head.{BASE}."],
    ),
    ("2.3.3 PTR", ip_address("10.244.0.5").reverse_pointer, "PTR", [f"a.head.{BASE}."]),
    ("2.3.3 PTR, IPv6", ip_address("fd00:244::5").reverse_pointer, "PTR", [f"a.head.{BASE}."]),
    ("2.4 ExternalName", f"out.{BASE}", "CNAME", ["db.example.com."]),
    ("2.4 ExternalName, asked for an address", f"out.{BASE}", "A", ["db.example.com.", "192.0.2.50"]),
    ("pod records", f"10-244-0-5.ns.pod.{ZONE}", "A", ["10.244.0.5"]),
    ("pod records", f"fd00-244--5.ns.pod.{ZONE}", "AAAA", ["fd00:244::5"]),
    ("pod records: only pods that are there", f"10-244-0-6.ns.pod.{ZONE}", "A", NXDOMAIN),
    ("no such Service", f"none.{BASE}", "A", NXDOMAIN),
    ("no such namespace", f"dual.none.svc.{ZONE}", "A", NXDOMAIN),
    ("a name of the search list's end", f"db.example.com.{BASE}", "A", NXDOMAIN),
    ("letters of any case", f"DUAL.{BASE}".title(), "A", ["10.96.0.7"]),
    ("the zone itself", ZONE, "SOA", None),
    ("the zone itself", ZONE, "NS", [f"ns.dns.{ZONE}."]),
]


@pytest.fixture(scope="module")
def zone():
    return cluster_zone(SERVICES, SLICES, [POD], ZONE, {"db.example.com": "192.0.2.50"})


@pytest.mark.parametrize(("section", "name", "kind", "expected"), TABLE)
def test_record(zone, section, name, kind, expected) -> None:
    answer = zone.answer(name, kind)
    if expected is NXDOMAIN:
        assert answer.code == "NXDOMAIN", section
    elif expected is None:
        assert len(answer.records) == 1, section
    else:
        assert (answer.code, sorted(record.value for record in answer.records)) == (
            "NOERROR",
            sorted(expected),
        ), section
    if not answer.records:
        assert answer.authority.kind == "SOA", section  # resolvers may remember that there is nothing
