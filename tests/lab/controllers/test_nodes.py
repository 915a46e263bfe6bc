"""Node lifecycle: taints by condition, and what a Lease that ran out means."""

from datetime import UTC, datetime, timedelta

from stockade.lab.controllers import node as module

from .conftest import node, pod


def taints(world, name="node-1"):
    return [taint["key"] for taint in world.get("nodes", name, "")["spec"].get("taints", [])]


async def test_cordon_and_readiness_become_taints_and_others_stay(world):
    own = {"key": "mine", "effect": "NoExecute"}
    world.edit("nodes", "node-1", lambda n: n["spec"].update(unschedulable=True, taints=[own]), "")
    await world.until(lambda: taints(world) == ["mine", "node.kubernetes.io/unschedulable"])
    world.edit("nodes", "node-1", lambda n: n["status"]["conditions"][0].update(status="False"), "")
    await world.until(lambda: "node.kubernetes.io/not-ready" in taints(world))
    world.edit("nodes", "node-1", lambda n: n["spec"].pop("unschedulable"), "")
    world.edit("nodes", "node-1", lambda n: n["status"]["conditions"][0].update(status="Unknown"), "")
    await world.until(lambda: taints(world) == ["mine", "node.kubernetes.io/unreachable"])
    world.edit("nodes", "node-1", lambda n: n["status"]["conditions"][0].update(status="True"), "")
    await world.until(lambda: taints(world) == ["mine"])


def lease(name, age):
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"metadata": {"name": name}, "spec": {"renewTime": renewed, "leaseDurationSeconds": 40}}


async def test_a_node_whose_lease_ran_out_is_lost_with_its_pods(world):
    world.add("nodes", node("silent"), "")
    world.add("pods", pod("there", nodeName="silent"))
    world.add("pods", pod("elsewhere"))
    module_leases = "leases.coordination.k8s.io"
    world.add(module_leases, lease("silent", 41), "kube-node-lease")
    world.add(module_leases, lease("node-1", 30), "kube-node-lease")
    world.add("nodes", node("odd"), "")
    odd = {
        "metadata": {"name": "odd"},
        "spec": {"renewTime": "2020-01-01T00:00:00", "leaseDurationSeconds": "x"},
    }
    world.add(module_leases, odd, "kube-node-lease")
    module.lose_silent(world.registry)
    await world.until(lambda: taints(world, "silent") == ["node.kubernetes.io/unreachable"])
    (ready,) = world.get("nodes", "silent", "")["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    states = {p["metadata"]["name"]: p["status"]["conditions"][0]["status"] for p in world.pods()}
    assert states == {"there": "False", "elsewhere": "True"}
    assert taints(world) == []


async def test_a_pod_of_no_node_goes_when_its_grace_is_over(world):
    for name, bound in (
        ("orphan", "nowhere"),
        ("patient", "nowhere"),
        ("kept", "nowhere"),
        ("held", "node-1"),
    ):
        world.add("pods", pod(name, nodeName=bound))
    past = {"deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    for name in ("orphan", "held"):
        world.edit("pods", name, lambda p: p["metadata"].update(past))
    world.edit(
        "pods", "patient", lambda p: p["metadata"].update(past, deletionTimestamp="2999-01-01T00:00:00Z")
    )
    module.delete_orphans(world.registry)
    assert {p["metadata"]["name"] for p in world.all("pods")} == {"patient", "kept", "held"}
