"""Several nodes and two address families, with real kubectl: pods reach each other, and each node's agent enforces its half."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request

import pytest

from stockade.lab.addresses import EXAMPLE_IP
from stockade.lab.processes import agents, node_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}}}
spec:
  podSelector: {{matchLabels: {{run: {pod}}}}}
  policyTypes: [{direction}]
"""
SLEEP = ("sleep", "3600")


def pod(lab, name, node, *, image="alpine", command=SLEEP, labels=None, **spec):
    """A Ready pod on node 1 or 2; its addresses."""
    container = {"name": name, "image": image, **({"command": list(command)} if image == "alpine" else {})}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"run": name}},
        "spec": {
            "nodeName": f"{lab.name}-node-{node}",
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            **spec,
        },
    }
    lab.apply(json.dumps(body))
    lab.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
    return [each["ip"] for each in lab.get("pod", name)["status"]["podIPs"]]


def service(lab, name, app, **spec):
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
    lab.apply(json.dumps({**body, "spec": {"selector": {"run": app}, "ports": [{"port": 80}], **spec}}))
    return lab.get("service", name)["spec"]


def fetches(lab, client, host) -> bool:
    """Whether ``client`` gets a page from ``host``; tried for a moment, as rules and endpoints follow within milliseconds."""
    url = f"http://[{host}]/" if ":" in host else f"http://{host}/"
    done = lab.try_kubectl("exec", client, "--", "wget", "-qO-", "--timeout", "1", url)
    return done.returncode == 0 and "<html>" in done.stdout.lower()


def eventually(condition, seconds=5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_nodes_are_complete_objects(two_nodes) -> None:
    lab = two_nodes
    nodes = {node["metadata"]["name"]: node for node in lab.get("nodes")["items"]}
    assert sorted(nodes) == [f"{lab.name}-node-1", f"{lab.name}-node-2"]
    second = nodes[f"{lab.name}-node-2"]
    assert second["spec"]["podCIDRs"] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    assert [a["address"] for a in second["status"]["addresses"]][:2] == ["172.30.0.2", "fd00:172:30::2"]
    ready = {c["type"]: c["status"] for c in second["status"]["conditions"]}
    assert ready == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert "taints" not in second["spec"]
    lease = lab.get("lease", "-n", "kube-node-lease", f"{lab.name}-node-2")
    assert lease["spec"]["holderIdentity"] == f"{lab.name}-node-2"
    shown = json.loads(lab.stockade("status", "--name", lab.name, "-o", "json").stdout)["nodes"]
    assert [(node["name"], bool(node["agent"])) for node in shown] == [(name, True) for name in sorted(nodes)]
    assert sorted(node_of(agent) for agent in agents(lab.paths)) == sorted(nodes)


def test_pods_reach_each_other_in_both_families(two_nodes) -> None:
    lab = two_nodes
    near = pod(lab, "near", 1, image="nginx")
    far = pod(lab, "far", 2, image="nginx")
    pod(lab, "one", 1)
    pod(lab, "two", 2)
    assert (near[0].rpartition(".")[0], far[0].rpartition(".")[0]) == ("10.244.0", "10.244.1")
    for client in ("one", "two"):
        for address in (*near, *far, "www.example.com"):
            assert fetches(lab, client, address), (client, address)
    assert service(lab, "plain", "far")["ipFamilies"] == ["IPv4"]
    both = service(lab, "both", "far", ipFamilyPolicy="RequireDualStack")
    assert [":" in ip for ip in both["clusterIPs"]] == [False, True]
    six = service(lab, "six", "near", ipFamilies=["IPv6"])
    assert ":" in six["clusterIP"]
    for client in ("one", "two"):
        for host in ("plain", "six", *both["clusterIPs"]):
            assert eventually(lambda: fetches(lab, client, host)), (client, host)  # noqa: B023
    answer = lab.kubectl("exec", "two", "--", "nslookup", "both.default.svc.cluster.local")
    assert all(ip in answer for ip in both["clusterIPs"])
    slices = lab.get("endpointslices", "-l", "kubernetes.io/service-name=both")["items"]
    found = {each["addressType"]: each["endpoints"][0]["addresses"][0] for each in slices}
    assert found == {"IPv4": far[0], "IPv6": far[1]}


@pytest.mark.parametrize(("direction", "isolated"), [("Ingress", "server"), ("Egress", "client")])
def test_each_agent_enforces_its_half(two_nodes, direction, isolated) -> None:
    """The pods are on different nodes: the Ingress policy is the second node's work, the Egress policy the first's."""
    lab = two_nodes
    names = {role: f"{role}-{direction.lower()}" for role in ("server", "client", "other")}
    addresses = pod(lab, names["server"], 2, image="nginx")
    pod(lab, names["client"], 1)
    pod(lab, names["other"], 1)
    for address in addresses:
        assert fetches(lab, names["client"], address)
    lab.apply(POLICY.format(name=f"deny-{direction.lower()}", pod=names[isolated], direction=direction))
    for address in addresses:
        assert eventually(lambda: not fetches(lab, names["client"], address)), address  # noqa: B023
        assert fetches(lab, names["other"], address) == (direction == "Egress")
    lab.kubectl("delete", "networkpolicy", f"deny-{direction.lower()}")
    for address in addresses:
        assert eventually(lambda: fetches(lab, names["client"], address)), address  # noqa: B023


def test_streams_reach_every_node(two_nodes) -> None:
    lab = two_nodes
    addresses = pod(lab, "host", 2, hostNetwork=True)
    assert addresses == ["172.30.0.2", "fd00:172:30::2"]
    assert "172.30.0.2/32" in lab.kubectl("exec", "host", "--", "ip", "addr")
    pod(lab, "talk", 2, command=("sh", "-c", "echo spoken; sleep 3600"))
    assert lab.kubectl("logs", "talk") == "spoken\n"
    probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
    container = {"name": "c", "image": "nginx", "readinessProbe": probe}
    pod(lab, "probed", 2, containers=[container])
    command = [str(lab.kubectl_path), "port-forward", "probed", ":80"]
    with subprocess.Popen(command, env=lab.env, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(":")[1].split()[0]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                page = answer.read().decode()
        finally:
            forward.terminate()
    assert "Welcome to nginx!" in page


def test_cordoned_nodes_get_no_pods_and_ports_are_taken_once(two_nodes) -> None:
    lab = two_nodes
    second = f"{lab.name}-node-2"
    lab.kubectl("cordon", second)
    assert eventually(lambda: lab.get("node", second)["spec"].get("taints"))
    lab.apply(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "waits"},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": second},
                    "containers": [
                        {"name": "c", "image": "nginx", "ports": [{"containerPort": 80, "hostPort": 81}]}
                    ],
                },
            }
        )
    )
    expected = (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert eventually(lambda: expected in lab.kubectl("describe", "pod", "waits"))
    lab.kubectl("uncordon", second)
    lab.kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=20s")
    pod(lab, "visitor", 1)
    for address in ("172.30.0.2", "[fd00:172:30::2]"):
        url = f"http://{address}:81/"
        page = lambda: lab.try_kubectl("exec", "visitor", "--", "wget", "-qO-", "--timeout", "1", url)  # noqa: B023, E731
        assert eventually(lambda: "Welcome to nginx!" in page().stdout), url  # noqa: B023
    twin = {**lab.get("pod", "waits"), "metadata": {"name": "twin"}, "status": {}}
    del twin["spec"]["nodeName"]
    lab.apply(json.dumps(twin))
    why = "1 node(s) didn't have free ports for the requested pod ports"
    assert eventually(lambda: why in lab.kubectl("describe", "pod", "twin"))
    lab.kubectl("delete", "pod", "waits", "twin", "--grace-period=0", "--force")


def test_a_node_that_is_cut_off_keeps_its_rules_and_learns_after_it_is_healed(two_nodes) -> None:
    lab = two_nodes
    second = f"{lab.name}-node-2"
    away = pod(lab, "away", 2, image="nginx")
    pod(lab, "here", 1)
    lab.apply(POLICY.format(name="before", pod="away", direction="Ingress"))
    assert eventually(lambda: not fetches(lab, "here", away[0]))
    attempt = f"wget -qO- -T 1 http://{away[0]}/ > /dev/null 2>&1 && word=open || word=denied"
    watcher = f"while true; do began=$(date +%s); {attempt}; echo $began $word; sleep 0.2; done"
    pod(lab, "neighbour", 2, command=("sh", "-c", watcher))  # on the same node: its way is not cut
    assert lab.stockade("node", "cut", second, "--name", lab.name).returncode == 0
    shown = json.loads(lab.stockade("status", "--name", lab.name, "-o", "json").stdout)["nodes"]
    assert [each.get("cut", False) for each in shown] == [False, True]
    done = lab.try_kubectl("exec", "away", "--", "true")
    assert "error dialing backend" in done.stderr
    lab.kubectl("delete", "networkpolicy", "before")
    time.sleep(2.5)
    assert not fetches(lab, "here", away[0])
    assert fetches(lab, "here", EXAMPLE_IP), "the first node is not concerned"
    healed = int(time.time())
    assert lab.stockade("node", "heal", second, "--name", lab.name).returncode == 0
    for address in away:
        assert eventually(lambda: fetches(lab, "here", address)), address  # noqa: B023
    assert lab.kubectl("exec", "away", "--", "echo", "back") == "back\n"
    seen = [line.split() for line in lab.kubectl("logs", "neighbour").splitlines()]
    meanwhile = [word for began, word in seen if int(began) < healed]
    assert len(meanwhile) >= 2
    assert set(meanwhile) == {"denied"}
    refused = lab.stockade("node", "cut", "nosuch", "--name", lab.name)
    assert (refused.returncode, refused.stderr) == (2, 'stockade: nodes "nosuch" not found\n')


def test_a_lab_without_ipv6(ipv4_lab) -> None:
    lab = ipv4_lab
    addresses = pod(lab, "web", 1, image="nginx")
    assert len(addresses) == 1
    assert "inet6" not in lab.kubectl("exec", "web", "--", "ip", "addr", "show", "eth0")
    (node,) = lab.get("nodes")["items"]
    assert node["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    refused = lab.try_kubectl(
        "create",
        "-f",
        "-",
        stdin=json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "both"},
                "spec": {
                    "ipFamilyPolicy": "RequireDualStack",
                    "selector": {"a": "b"},
                    "ports": [{"port": 80}],
                },
            }
        ),
    )
    assert "this cluster is not configured for dual-stack services" in refused.stderr
    pod(lab, "cli", 1)
    service(lab, "web", "web", ipFamilyPolicy="PreferDualStack")
    assert eventually(lambda: fetches(lab, "cli", "web"))
