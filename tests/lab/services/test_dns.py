"""The cluster's DNS as what it is: a Deployment of pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from .conftest import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
NAME = "kubernetes.default.svc.cluster.local"
SYSTEM = ("-n", "kube-system")
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: closed, namespace: kube-system}}
spec: {{podSelector: {{matchLabels: {labels}}}, policyTypes: [Ingress]}}
"""


def pods(cluster: Cluster) -> list[dict]:
    items = cluster.lab.get(*SYSTEM, "pods", "-l", "k8s-app=kube-dns")["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def ready(cluster: Cluster) -> list[str]:
    subsets = cluster.lab.get(*SYSTEM, "endpoints", "kube-dns").get("subsets") or []
    return sorted(address["ip"] for subset in subsets for address in subset.get("addresses") or [])


def lookup(cluster: Cluster, name: str = NAME) -> str:
    """The answer of nslookup; ``""`` when there is none within a second or two."""
    said = cluster.sh("client", f"timeout 4 nslookup -type=a {name}")
    return said if "Address" in said.partition(name)[2] or "NXDOMAIN" in said else ""


def settled(cluster: Cluster, replicas: int) -> None:
    cluster.until(lambda: len(ready(cluster)) == len(pods(cluster)) == replicas)


@pytest.fixture(autouse=True)
def two_replicas(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.lab.kubectl(*SYSTEM, "scale", "deployment/coredns", "--replicas=2")
    settled(cluster, 2)


def test_two_replicas_on_two_nodes_with_the_usual_service(cluster: Cluster) -> None:
    assert {pod["spec"]["nodeName"] for pod in pods(cluster)} == set(cluster.nodes)
    service = cluster.lab.get(*SYSTEM, "service", "kube-dns")
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert [(p["name"], p["port"], p["protocol"]) for p in service["spec"]["ports"]] == [
        ("dns", 53, "UDP"),
        ("dns-tcp", 53, "TCP"),
        ("metrics", 9153, "TCP"),
    ]
    assert lookup(cluster)
    (metrics,) = set(cluster.fetched("client", "http://10.96.0.10:9153/none"))
    assert metrics == "404 page not found"
    assert "port 53" in cluster.lab.kubectl(*SYSTEM, "logs", "deployment/coredns")


def test_deleted_and_restarted_pods_are_replaced_and_lookups_go_on(cluster: Cluster) -> None:
    before = {pod["metadata"]["uid"] for pod in pods(cluster)}
    script = (
        f"for n in $(seq 40); do nslookup -type=a {NAME} >/dev/null || echo lost; sleep 0.05; done; echo end"
    )
    with cluster.lab.terminal("exec", "client", "--", "sh", "-c", script) as watching:
        cluster.lab.kubectl(*SYSTEM, "rollout", "restart", "deployment/coredns")
        cluster.lab.kubectl(*SYSTEM, "rollout", "status", "deployment/coredns", "--timeout=30s")
        assert "lost" not in watching.wait_for("end", 30)
    settled(cluster, 2)
    after = {pod["metadata"]["uid"] for pod in pods(cluster)}
    assert not before & after
    gone = pods(cluster)[0]["metadata"]["name"]
    cluster.lab.kubectl(*SYSTEM, "delete", "pod", gone, "--wait=false")
    settled(cluster, 2)
    assert gone not in {pod["metadata"]["name"] for pod in pods(cluster)}
    assert lookup(cluster)


def test_scaled_to_nothing_nobody_answers(cluster: Cluster) -> None:
    cluster.lab.kubectl(*SYSTEM, "scale", "deployment/coredns", "--replicas=0")
    settled(cluster, 0)
    cluster.until(lambda: not lookup(cluster))
    cluster.lab.kubectl(*SYSTEM, "scale", "deployment/coredns", "--replicas=3")
    settled(cluster, 3)
    cluster.until(lambda: lookup(cluster))


def test_a_cordon_keeps_them_away(cluster: Cluster) -> None:
    cluster.lab.kubectl("cordon", cluster.nodes[1])
    try:
        for pod in pods(cluster):
            cluster.lab.kubectl(*SYSTEM, "delete", "pod", pod["metadata"]["name"], "--wait=false")
        settled(cluster, 2)
        assert {pod["spec"]["nodeName"] for pod in pods(cluster)} == {cluster.nodes[0]}
    finally:
        cluster.lab.kubectl("uncordon", cluster.nodes[1])
    assert lookup(cluster)


def test_a_policy_denies_one_replica_as_it_denies_any_pod(cluster: Cluster) -> None:
    one, other = pods(cluster)
    cluster.lab.kubectl(*SYSTEM, "label", "pod", one["metadata"]["name"], "closed=yes")
    cluster.lab.apply(DENY.format(labels="{closed: 'yes'}"))
    try:
        ask = "timeout 3 nslookup -type=a {} {} | grep -c 'Address.*10.96.0.1$'"
        there, here = one["status"]["podIP"], other["status"]["podIP"]
        cluster.until(lambda: cluster.sh("client", ask.format(NAME, there)).strip() != "1")
        assert cluster.sh("client", ask.format(NAME, here)).strip() == "1"
        assert len(ready(cluster)) == 2  # the node's probes are never denied
    finally:
        cluster.lab.kubectl(*SYSTEM, "delete", "networkpolicy", "closed")


def test_names_of_the_specification_by_the_resolver_of_an_image(cluster: Cluster) -> None:
    cluster.service(
        "names", ports=[{"port": 80, "targetPort": "web", "name": "http"}], ipFamilyPolicy="RequireDualStack"
    )
    cluster.service("each", clusterIP="None", ports=[{"port": 80, "targetPort": "web", "name": "http"}])
    cluster.service("away", type="ExternalName", externalName="www.example.com", selector=None, ports=None)
    cluster.until(lambda: "NXDOMAIN" not in lookup(cluster, "each.default.svc.cluster.local"))
    ips = {
        name: cluster.lab.get("service", name)["spec"].get("clusterIPs") for name in ("names", "each", "away")
    }
    four, six = ips["names"]
    script = "; ".join(
        f"echo == {kind} {name}; nslookup -type={kind} {name}"
        for kind, name in (
            ("a", "names.default.svc.cluster.local"),
            ("aaaa", "names.default.svc.cluster.local"),
            ("srv", "_http._tcp.each.default.svc.cluster.local"),
            ("ptr", ip_address(four).reverse_pointer),
            ("ptr", ip_address(six).reverse_pointer),
            ("a", "away.default.svc.cluster.local"),
            ("a", "nosuch.default.svc.cluster.local"),
        )
    )
    said = {part.split("\n")[0]: part for part in cluster.sh("client", script).split("== ")}
    whole = json.dumps(said, indent=1)
    assert four in said["a names.default.svc.cluster.local"], whole
    assert six in said["aaaa names.default.svc.cluster.local"], whole
    assert "8080 " in said["srv _http._tcp.each.default.svc.cluster.local"], whole
    assert "names.default.svc.cluster.local" in said[f"ptr {ip_address(four).reverse_pointer}"], whole
    assert "names.default.svc.cluster.local" in said[f"ptr {ip_address(six).reverse_pointer}"], whole
    assert "93.184.216.34" in said["a away.default.svc.cluster.local"], whole
    assert "NXDOMAIN" in said["a nosuch.default.svc.cluster.local"], whole
