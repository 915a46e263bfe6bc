"""The engine and the agents of two nodes: random policies, and a real connection for each pair of pods, port and family."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stockade.kube.config import load
from stockade.kube.snapshot import read_cluster
from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow, PodEndpoint
from stockade.store.state import ClusterState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
PODS = {"a/p1": 1, "a/p2": 2, "a/p3": 1, "b/p4": 2, "b/p5": 1}  # which node each is on
LABELS = {
    "a/p1": {"app": "x"},
    "a/p2": {"app": "y", "tier": "x"},
    "a/p3": {"app": "y"},
    "b/p4": {"app": "x"},
    "b/p5": {},
}
PORTS = (80, 81)
WORLDS = 4
Key = tuple[str, str, int, int]  # source, target, port, family


def pod(lab, ref: str) -> dict:
    namespace, name = ref.split("/")
    container = {"name": "c", "image": "nginx", "ports": [{"name": "web", "containerPort": 80}]}
    second = {"name": "d", "image": "alpine", "command": ["busybox", "httpd", "-f", "-p", "81", "-h", "/"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS[ref]},
        "spec": {"nodeName": f"{lab.name}-node-{PODS[ref]}", "containers": [container, second]},
    }


def policy(chance: random.Random, name: str) -> dict:
    def selector() -> dict:
        return chance.choice(
            [{}, {"matchLabels": {"app": "x"}}, {"matchLabels": {"app": "y"}}, {"matchLabels": {"tier": "x"}}]
        )

    def peer() -> dict:
        blocks = [
            "10.244.0.0/24",
            "10.244.1.0/24",
            "fd00:10:244::/64",
            "fd00:10:244:1::/64",
            "::/0",
            "0.0.0.0/0",
        ]
        return chance.choice(
            [
                {"podSelector": selector()},
                {"namespaceSelector": {}, "podSelector": selector()},
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}},
                {"ipBlock": {"cidr": chance.choice(blocks)}},
            ]
        )

    def rule(key: str) -> dict:
        found: dict = {key: [peer() for _ in range(chance.randint(1, 2))]}
        if chance.random() < 0.5:
            found["ports"] = [{"port": chance.choice([80, 81, "web"])}]
        return found

    types = chance.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    spec: dict = {"podSelector": selector(), "policyTypes": types}
    for type_, field, key in (("Ingress", "ingress", "from"), ("Egress", "egress", "to")):
        if type_ in types:
            spec[field] = [rule(key) for _ in range(chance.randint(0, 2))]
    metadata = {"name": name, "namespace": chance.choice(["a", "b"])}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def decided(lab) -> dict[Key, bool]:
    snapshot = read_cluster(load(lab.paths.kubeconfig, None))
    compiled = compile_state(ClusterState.of(snapshot.objects))
    found = {}
    for source in PODS:
        for target in PODS:
            for port in PORTS:
                for family in (4, 6):
                    ends = [PodEndpoint(ObjectRef(*ref.split("/"))) for ref in (source, target)]
                    flow = Flow(ends[0], ends[1], "TCP", port, family)
                    if source != target:
                        found[source, target, port, family] = evaluate(compiled, flow).allowed
    return found


def seen(lab, addresses: dict[str, list[str]]) -> dict[Key, bool]:
    """Every pod tries all others, all at once."""
    with ThreadPoolExecutor(len(PODS)) as pool:
        each = pool.map(lambda source: seen_from(lab, source, addresses), PODS)
        return {key: value for found in each for key, value in found.items()}


def seen_from(lab, source: str, addresses: dict[str, list[str]]) -> dict[Key, bool]:
    tries = [(t, p, f) for t in PODS if t != source for p in PORTS for f in (4, 6)]
    script = "".join(
        f"(nc -w 1 {addresses[t][f == 6]} {p} </dev/null >/dev/null 2>&1; echo {t} {p} {f} $?) & "
        for t, p, f in tries
    )
    namespace, name = source.split("/")
    lines = lab.kubectl("exec", "-n", namespace, name, "-c", "d", "--", "sh", "-c", script + "wait")
    found = {}
    for line in lines.splitlines():
        target, port, family, status = line.split()
        found[source, target, int(port), int(family)] = status == "0"
    return found


def test_engine_and_agents_agree(two_nodes) -> None:
    lab = two_nodes
    for name in "ab":
        lab.kubectl("create", "namespace", name)
    lab.apply("\n---\n".join(json.dumps(pod(lab, ref)) for ref in PODS))
    for name in "ab":
        lab.kubectl("wait", "-n", name, "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    addresses = {}
    for ref in PODS:
        namespace, name = ref.split("/")
        addresses[ref] = [each["ip"] for each in lab.get("pod", "-n", namespace, name)["status"]["podIPs"]]
    assert all(seen(lab, addresses).values())
    chance = random.Random(5)
    answers: set[bool] = set()
    for world in range(WORLDS):
        drawn = [policy(chance, f"np{number}") for number in range(chance.randint(1, 4))]
        lab.apply("\n---\n".join(json.dumps(each) for each in drawn))
        expected = decided(lab)
        answers |= set(expected.values())
        deadline = time.monotonic() + 5
        while (differences := {k: v for k, v in seen(lab, addresses).items() if v != expected[k]}) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        assert not differences, (world, differences, drawn)
        for name in "ab":
            lab.kubectl("delete", "networkpolicy", "-n", name, "--all")
    assert answers == {True, False}
