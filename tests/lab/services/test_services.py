"""Services with real packets: each field that says where a packet goes, from inside, from the node, and from outside."""

from __future__ import annotations

import json
import time

import pytest

from .conftest import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
OUTSIDE = "192.0.2.2"
DUAL = {"ipFamilyPolicy": "RequireDualStack"}


def addresses(cluster: Cluster, pod: str) -> list[str]:
    return [entry["ip"] for entry in cluster.lab.get("pod", pod)["status"]["podIPs"]]


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def test_cluster_ips_of_both_families_lead_to_both_pods(cluster: Cluster) -> None:
    made = cluster.service("dual", **DUAL)
    urls = [f"http://{host(ip)}/hostname" for ip in made["spec"]["clusterIPs"]]
    assert len(urls) == 2
    assert set(cluster.fetched("client", urls[0], times=12)) == {"a", "b"}
    assert set(cluster.fetched("client", urls[1], times=12)) == {"a", "b"}
    assert set(cluster.fetched("host", *urls)) <= {"a", "b"}  # the node itself
    assert cluster.fetched("client", urls[0].replace("/hostname", ":81/")) == ["refused"]


def test_node_ports_from_pods_nodes_and_outside_in_both_families(cluster: Cluster) -> None:
    made = cluster.service("np", type="NodePort", **DUAL)
    port = made["spec"]["ports"][0]["nodePort"]
    nodes = cluster.lab.get("nodes")["items"]
    ips = [a["address"] for node in nodes for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
    urls = [f"http://{host(ip)}:{port}/hostname" for ip in ips]
    assert len(urls) == 4
    for pod in ("client", "host"):
        assert set(cluster.fetched(pod, *urls)) <= {"a", "b"}, pod
    assert {cluster.outside(url) for url in urls} <= {"a", "b"}


def test_a_load_balancer_has_an_address_of_each_family(cluster: Cluster) -> None:
    made = cluster.service("lb", type="LoadBalancer", **DUAL)
    ingress = [entry["ip"] for entry in made["status"]["loadBalancer"]["ingress"]]
    assert [":" in ip for ip in ingress] == [family == "IPv6" for family in made["spec"]["ipFamilies"]]
    urls = [f"http://{host(ip)}/hostname" for ip in ingress]
    cluster.until(lambda: {cluster.outside(url) for url in urls} <= {"a", "b"})
    assert set(cluster.fetched("client", *urls)) <= {"a", "b"}


def test_source_ranges_of_a_load_balancer(cluster: Cluster) -> None:
    made = cluster.service("guarded", type="LoadBalancer", loadBalancerSourceRanges=["198.51.100.0/24"])
    url = f"http://{made['status']['loadBalancer']['ingress'][0]['ip']}/hostname"
    inner = f"http://{made['spec']['clusterIP']}/hostname"
    cluster.until(lambda: "no answer" in cluster.outside(url))
    assert cluster.fetched("client", url) == ["timeout"]
    assert set(cluster.fetched("client", inner)) <= {"a", "b"}
    cluster.service("guarded", type="LoadBalancer", loadBalancerSourceRanges=[f"{OUTSIDE}/32"])
    cluster.until(lambda: cluster.outside(url) in {"a", "b"})
    assert cluster.fetched("client", url) == ["timeout"]


def test_external_traffic_that_stays_on_the_node(cluster: Cluster) -> None:
    made = cluster.service("stay", type="NodePort", externalTrafficPolicy="Local", selector={"one": "b"})
    port = made["spec"]["ports"][0]["nodePort"]
    one, two = f"http://172.30.0.1:{port}/clientip", f"http://172.30.0.2:{port}/clientip"
    cluster.until(lambda: cluster.outside(two).startswith("192.0.2.6:"))  # the client's own address
    assert "no answer" in cluster.outside(one)
    client = addresses(cluster, "client")[0]
    assert cluster.fetched("client", one)[0].startswith(f"{client}:")  # inside it leads everywhere
    gone = cluster.service("gone", type="NodePort", externalTrafficPolicy="Local", selector={"app": "none"})
    refused = f"http://172.30.0.1:{gone['spec']['ports'][0]['nodePort']}/"
    cluster.until(lambda: "refused" in cluster.outside(refused))


def test_a_load_balancer_asks_which_node_has_endpoints(cluster: Cluster) -> None:
    made = cluster.service(
        "checked", type="LoadBalancer", externalTrafficPolicy="Local", selector={"one": "b"}
    )
    urls = [f"http://172.30.0.{number}:{made['spec']['healthCheckNodePort']}/" for number in (1, 2)]
    cluster.until(lambda: '"localEndpoints":1,' in cluster.outside(urls[1]))
    assert '{"service":{"namespace":"default","name":"checked"},"localEndpoints":0,' in cluster.outside(
        urls[0]
    )
    change = '{"spec": {"type": "ClusterIP"}}'
    cluster.lab.kubectl("patch", "service", "checked", "-p", change)  # and what went with the type goes
    spec = cluster.lab.get("service", "checked")["spec"]
    assert not {"externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"} & set(spec)
    assert "nodePort" not in spec["ports"][0]
    cluster.until(lambda: "refused" in cluster.outside(urls[1]))


def test_internal_traffic_that_stays_on_the_node(cluster: Cluster) -> None:
    here = cluster.service("here", internalTrafficPolicy="Local")
    url = f"http://{here['spec']['clusterIP']}/hostname"
    assert set(cluster.fetched("client", url, times=8)) == {"a"}
    away = cluster.service("away", internalTrafficPolicy="Local", selector={"one": "b"})
    assert cluster.fetched("client", f"http://{away['spec']['clusterIP']}/hostname") == ["timeout"]


def test_external_addresses(cluster: Cluster) -> None:
    cluster.service("ext", externalIPs=["198.51.100.7"])
    cluster.until(lambda: set(cluster.fetched("client", "http://198.51.100.7/hostname")) <= {"a", "b"})


def test_session_affinity_lasts_and_ends(cluster: Cluster) -> None:
    def sticky(seconds: int) -> str:
        config = {"clientIP": {"timeoutSeconds": seconds}}
        spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}
        return f"http://{cluster.service('sticky', **spec)['spec']['clusterIP']}/hostname"

    url = sticky(100)
    (first,) = set(cluster.fetched("client", url, times=8))
    cluster.service("another")  # the table is made anew
    time.sleep(0.3)
    assert set(cluster.fetched("client", url, times=8)) == {first}
    sticky(1)
    time.sleep(0.3)
    page = f"$(curl -gsS -m 1 {url})"
    script = f"first={page}; for n in 1 2 3 4 5 6 7 8 9 10 11; do sleep 1.2; [ {page} = $first ] || exec echo ended; done"
    assert (
        cluster.sh("client", script) == "ended\n"
    )  # without a choice of its own each time: wrong once in 2048 runs


def test_the_same_name_is_another_port_in_each_pod(cluster: Cluster) -> None:
    cluster.lab.apply(cluster.pod("c", 2, "named", 8090) + cluster.pod("d", 1, "named", 8091))
    cluster.lab.kubectl("wait", "--for=condition=Ready", "pod/c", "pod/d", "--timeout=20s")
    made = cluster.service("named", selector={"app": "named"})
    url = f"http://{made['spec']['clusterIP']}/hostname"
    cluster.until(lambda: set(cluster.fetched("client", url, times=12)) == {"c", "d"})
    slices = cluster.lab.get("endpointslices", "-l", "kubernetes.io/service-name=named")["items"]
    assert sorted(entry["ports"][0]["port"] for entry in slices) == [8090, 8091]
    assert {entry["endpoints"][0]["targetRef"]["name"] for entry in slices} == {"c", "d"}


def test_without_endpoints_it_is_refused_and_a_pod_reaches_itself(cluster: Cluster) -> None:
    empty = cluster.service("empty", selector={"app": "none"})
    assert cluster.fetched("client", f"http://{empty['spec']['clusterIP']}/") == ["refused"]
    own = cluster.service("own", selector={"one": "a"})
    assert cluster.fetched("a", f"http://{own['spec']['clusterIP']}/hostname") == ["a"]


def test_a_udp_client_follows_when_its_endpoint_goes(cluster: Cluster) -> None:
    cluster.lab.apply(cluster.pod("e", 1, "udp"))
    cluster.lab.kubectl("wait", "--for=condition=Ready", "pod/e", "--timeout=20s")
    ports = [{"port": 53, "targetPort": 8081, "protocol": "UDP"}]
    ip = cluster.service("udp", selector={"app": "udp"}, ports=ports)["spec"]["clusterIP"]
    ask = f"echo hostname | nc -u -w 1 -p 5555 {ip} 53"
    cluster.until(lambda: cluster.sh("client", ask).strip() == "e")
    cluster.lab.apply(cluster.pod("f", 2, "udp"))
    cluster.lab.kubectl("wait", "--for=condition=Ready", "pod/f", "--timeout=20s")
    cluster.lab.kubectl("delete", "pod", "e", "--now")
    cluster.until(lambda: cluster.sh("client", ask).strip() == "f", 5.0)


@pytest.mark.parametrize("kind", ["Endpoints", "EndpointSlice"])
def test_a_service_without_selector_leads_where_its_user_says(cluster: Cluster, kind: str) -> None:
    name = f"own-{kind.lower()}"
    ip = addresses(cluster, "a")[0]
    made = cluster.service(name, selector=None, ports=[{"port": 80}])
    url = f"http://{made['spec']['clusterIP']}/hostname"
    if kind == "Endpoints":
        subsets = [{"addresses": [{"ip": ip}], "ports": [{"port": 8080}]}]
        wanted = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "subsets": subsets}
    else:
        labels = {"kubernetes.io/service-name": name}
        wanted = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": labels},
        }
        wanted |= {"addressType": "IPv4", "endpoints": [{"addresses": [ip]}], "ports": [{"port": 8080}]}
    cluster.lab.apply(json.dumps(wanted))
    cluster.until(lambda: cluster.fetched("client", url) == ["a"])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"clusterIP": "10.96.0.10"}, "provided IP is already allocated"),
        ({"clusterIP": "10.0.0.1"}, "is not in the valid range. The range of valid IPs is 10.96.0.0/12"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name: Required value"),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "The range of valid ports is 30000-32767",
        ),
        (
            {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]},
            "must be 'RequireDualStack' or 'PreferDualStack'",
        ),
        ({"externalTrafficPolicy": "Local"}, "spec.externalTrafficPolicy: Invalid value"),
        (
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}},
            "spec.sessionAffinityConfig: Forbidden",
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}},
            "must be greater than 0 and less than 86400",
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        ({"externalIPs": ["127.0.0.1"]}, "spec.externalIPs[0]: Invalid value"),
    ],
)
def test_what_cannot_be_is_refused_in_the_real_words(cluster: Cluster, spec: dict, told: str) -> None:
    whole = {"ports": [{"port": 80}], **spec}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "wrong"}, "spec": whole}
    done = cluster.lab.try_kubectl("create", "-f", "-", stdin=json.dumps(made))
    assert done.returncode == 1
    assert told in done.stderr
