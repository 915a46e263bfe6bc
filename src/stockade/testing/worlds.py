"""Named world states: the recipe stage by stage, and the nine pods of the upstream policy tests.

Out: lists of objects (so that a test can add its own) and ClusterStates. Addresses are those a lab gives.
"""

from __future__ import annotations

from stockade.model.meta import View
from stockade.model.netpol import NetworkPolicy
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy, service

WEB_IP, TEST_IP, DNS_POD_IP = "10.244.0.10", "10.244.0.11", "10.244.0.2"
WEB_SERVICE_IP, DNS_SERVICE_IP = "10.96.84.91", "10.96.0.10"
EXAMPLE_COM, GOOGLE_COM = "93.184.216.34", "74.125.129.101"

STAGES = ("none", "deny-all", "dns", "kube-dns")

_FOO = {"matchLabels": {"app": "foo"}}
_KUBE_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
_DNS_PORTS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


def recipe_policies(stage: str) -> list[NetworkPolicy]:
    """``none``; ``deny-all``: egress []; ``dns``: port 53 to anywhere; ``kube-dns``: port 53 to kube-dns only."""
    if stage == "none":
        return []
    rules = {
        "deny-all": [],
        "dns": [{"ports": _DNS_PORTS}],
        "kube-dns": [{"to": [_KUBE_DNS], "ports": _DNS_PORTS}],
    }[stage]
    return [policy("foo-deny-egress", {"podSelector": _FOO, "policyTypes": ["Egress"], "egress": rules})]


def recipe_objects(stage: str = "none") -> list[View]:
    """Pods web and test, kube-dns, their Services, one node, and the policies of ``stage``."""
    dns_ports = [
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
    ]
    dns_service_ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    dns = {"k8s-app": "kube-dns"}
    return [
        namespace("default"),
        namespace("kube-system"),
        node(),
        pod("web", {"app": "web"}, WEB_IP, ports=[{"containerPort": 80}]),
        pod("test", {"app": "foo"}, TEST_IP),
        pod("kube-system/kube-dns", dns, DNS_POD_IP, ports=dns_ports),
        service("web", {"app": "web"}, WEB_SERVICE_IP, {"port": 80, "protocol": "TCP", "targetPort": 80}),
        service("kube-system/kube-dns", dns, DNS_SERVICE_IP, *dns_service_ports),
        *recipe_policies(stage),
    ]


def recipe(stage: str = "none") -> ClusterState:
    return ClusterState.of(recipe_objects(stage))


def nine_pods() -> list[View]:
    """Namespaces x, y, z with pods a, b, c that serve 80 and 81 by TCP, UDP and SCTP under names (upstream e2e)."""
    ports = [
        {"name": f"serve-{number}-{protocol.lower()}", "containerPort": number, "protocol": protocol}
        for number in (80, 81)
        for protocol in ("TCP", "UDP", "SCTP")
    ]
    objects: list[View] = [node()]
    for row, space in enumerate("xyz"):
        objects.append(namespace(space))
        for column, name in enumerate("abc"):
            address = f"10.244.{row}.{column + 1}"
            objects.append(pod(f"{space}/{name}", {"pod": name}, address, ports=ports))
    return objects
