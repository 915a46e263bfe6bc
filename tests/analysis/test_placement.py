"""Pods of manifests get a node and an address, pods of a cluster keep what they have."""

from __future__ import annotations

from stockade.analysis.placement import node_names, placed
from stockade.model.meta import ObjectRef
from stockade.store.state import ClusterState
from stockade.testing.cluster import objects

PODS = """
kind: Pod
metadata: {name: plain, namespace: default}
---
kind: Pod
metadata: {name: bound, namespace: default}
spec: {nodeName: node-2}
---
kind: Pod
metadata: {name: running, namespace: default}
spec: {nodeName: node-1}
status: {phase: Running, podIP: 10.244.0.5}
---
kind: Pod
metadata: {name: pending, namespace: default}
spec: {nodeName: node-1}
status: {phase: Pending}
---
kind: Pod
metadata: {name: host, namespace: default}
spec: {hostNetwork: true}
---
kind: Pod
metadata: {name: done, namespace: default}
spec: {nodeName: node-9}
status: {phase: Failed}
"""


def state(text: str = PODS) -> ClusterState:
    return ClusterState.of(objects(text))


def test_nodes_are_those_of_pods_that_live_and_of_node_objects():
    assert node_names(state()) == ("node-1", "node-2")
    node = "\n---\nkind: Node\nmetadata: {name: empty}\n"
    assert node_names(state(PODS + node)) == ("empty", "node-1", "node-2")


def test_only_what_is_missing_is_filled_in():
    found = placed(state(), "node-1", (4, 6))
    pods = {name: found.state.pods[ObjectRef("default", name)] for name in ("plain", "bound", "running")}
    assert [(pod.spec.node_name, pod.ips) for pod in pods.values()] == [
        ("node-1", ("198.18.0.2", "2001:2::2")),
        ("node-2", ("198.18.0.1", "2001:2::1")),
        ("node-1", ("10.244.0.5",)),
    ]
    assert found.notes == (
        "2 pods have no spec.nodeName: taken to run on node-1",
        "2 pods have no status: given stand-in addresses of 198.18.0.0/15 and 2001:2::/48",
    )


def test_a_pod_that_has_a_status_has_no_address_yet():
    kept = placed(state(), "node-1").state
    assert kept.pods[ObjectRef("default", "pending")].ips == ()
    assert kept.pods[ObjectRef("default", "host")].ips == ()
    assert kept.pods[ObjectRef("default", "host")].spec.node_name == "node-1"


def test_a_state_that_says_everything_is_left_alone():
    whole = state(PODS.split("---")[2])
    assert placed(whole, "node-1").state is whole
    assert placed(whole, "node-1").notes == ()


def test_one_pod_is_named():
    assert placed(state(PODS.split("---")[1]), "node-1").notes == (
        "pod default/bound has no status: given stand-in addresses of 198.18.0.0/15",
    )
