"""A node that stands still, and goes on: with real kubectl, pods and policies; over a crash of the lab, too."""

from __future__ import annotations

import json

import pytest

from .test_nodes import POLICY, eventually, fetches, pod, service
from .test_restore import crash

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
TICKS = ("sh", "-c", "while true; do echo tick; sleep 0.05; done")
ALIVE = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}


def ready(lab, kind: str, name: str) -> str:
    return next(c["status"] for c in lab.get(kind, name)["status"]["conditions"] if c["type"] == "Ready")


def ticks(lab) -> int:
    return lab.kubectl("logs", "clock").count("tick")


def restarts(lab, name: str) -> int:
    return lab.get("pod", name)["status"]["containerStatuses"][0]["restartCount"]


def test_a_paused_node_stands_still_and_learns_when_it_goes_on(two_nodes) -> None:
    lab = two_nodes
    second = f"{lab.name}-node-2"
    web = pod(lab, "web", 2, image="nginx")
    pod(lab, "gone", 2, terminationGracePeriodSeconds=1)
    pod(lab, "client", 1)
    clock = {"name": "clock", "image": "alpine", "command": list(TICKS), "livenessProbe": ALIVE}
    pod(lab, "clock", 2, containers=[clock])
    service(lab, "web", "web")
    assert eventually(lambda: fetches(lab, "client", "web"))

    done = lab.stockade("node", "pause", second, "--name", lab.name)
    assert (done.returncode, done.stderr) == (0, f"node {second} is paused\n")
    # No sign of life for longer than its Lease allows.
    long_ago = '{"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}'
    lab.kubectl("patch", "lease", second, "-n", "kube-node-lease", "--type=merge", "-p", long_ago)
    assert eventually(lambda: not fetches(lab, "client", web[0]))
    assert "error dialing backend" in lab.try_kubectl("exec", "clock", "--", "true").stderr
    status = lab.stockade("status", "--name", lab.name).stdout
    assert "stopped, as its node is paused" in status
    lab.apply(POLICY.format(name="closed", pod="web", direction="Ingress"))
    lab.kubectl("delete", "pod", "gone", "--wait=false")
    spec = {"nodeName": second, "containers": [{"name": "c", "image": "nginx"}]}
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"}, "spec": spec}))

    assert eventually(lambda: ready(lab, "node", second) == "Unknown", 15)
    assert eventually(lambda: ready(lab, "pod", "web") == "False")
    taints = lambda: [taint["key"] for taint in lab.get("node", second)["spec"].get("taints", [])]  # noqa: E731
    assert eventually(lambda: "node.kubernetes.io/unreachable" in taints())
    slices = lambda: lab.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]  # noqa: E731
    assert eventually(
        lambda: not any(e["conditions"]["ready"] for s in slices() for e in s["endpoints"] or [])
    )
    assert lab.get("pod", "gone")["metadata"]["deletionTimestamp"]
    assert lab.get("pod", "new")["status"]["phase"] == "Pending"

    before = restarts(lab, "clock")
    assert lab.stockade("node", "resume", second, "--name", lab.name).returncode == 0
    assert eventually(lambda: ready(lab, "node", second) == "True")
    counted = ticks(lab)
    assert eventually(lambda: ticks(lab) > counted), "the same process goes on"
    assert eventually(lambda: ready(lab, "pod", "web") == "True")
    assert eventually(lambda: lab.try_kubectl("get", "pod", "gone").returncode != 0)
    lab.kubectl("wait", "--for=condition=Ready", "pod/new", "--timeout=20s")
    assert eventually(lambda: not fetches(lab, "client", web[0])), "the policy of meanwhile holds"
    lab.kubectl("delete", "networkpolicy", "closed")
    assert eventually(lambda: fetches(lab, "client", web[0]))
    assert restarts(lab, "clock") == before, "no probe failed that nobody could have made"
    assert not taints()


def test_a_pause_outlives_a_crash(two_nodes) -> None:
    lab = two_nodes
    second = f"{lab.name}-node-2"
    pod(lab, "kept", 2)
    assert lab.stockade("node", "pause", second, "--name", lab.name).returncode == 0
    crash(lab)
    done = lab.stockade("up", "--name", lab.name)
    assert done.returncode == 0, done.stderr
    lab.kubectl("wait", "--for=condition=Ready", f"node/{lab.name}-node-1", "--timeout=10s")
    assert ready(lab, "node", second) == "False"
    assert ready(lab, "pod", "kept") == "False"
    assert "starts when its node goes on" in lab.stockade("status", "--name", lab.name).stdout
    assert lab.stockade("node", "resume", second, "--name", lab.name).returncode == 0
    lab.kubectl("wait", "--for=condition=Ready", f"node/{second}", "pod/kept", "--timeout=20s")
    assert lab.kubectl("exec", "kept", "--", "echo", "back") == "back\n"
    assert lab.stockade("node", "pause", second, "--name", lab.name).returncode == 0
