"""DaemonSets: a pod on each node that suits."""

from __future__ import annotations

import pytest

from stockade.lab.controllers.nodes import bound_node, suits

from .conftest import deployment, node

DAEMONSETS = "daemonsets.apps"


def daemon(**spec):
    made = deployment("agent", **spec)
    made["spec"].pop("replicas")
    return {**made, "kind": "DaemonSet"}


def status(world):
    return world.get(DAEMONSETS, "agent").get("status", {})


def is_settled(world, nodes):
    counts = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    return [status(world).get(count, 0) for count in counts] == [nodes] * 3 and len(world.pods()) == nodes


async def test_one_pod_on_each_node_also_on_new_ones(world):
    world.add("nodes", node("node-2"), "")
    world.add(DAEMONSETS, daemon())
    await world.until(lambda: is_settled(world, 2))
    assert sorted(map(bound_node, world.pods())) == ["node-1", "node-2"]
    world.add("nodes", node("node-3"), "")
    await world.until(lambda: is_settled(world, 3))
    assert "numberUnavailable" not in status(world)


async def test_nodes_are_chosen_by_label(world):
    world.add("nodes", node("node-2"), "")
    wanted = daemon()
    wanted["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    world.add(DAEMONSETS, wanted)
    await world.settle()
    assert world.pods() == []
    world.edit("nodes", "node-2", lambda obj: obj["metadata"].update(labels={"disk": "fast"}), "")
    await world.until(lambda: is_settled(world, 1))
    assert bound_node(world.pods()[0]) == "node-2"
    world.edit("nodes", "node-2", lambda obj: obj["metadata"].update(labels={}), "")
    await world.until(lambda: world.pods() == [])


@pytest.mark.parametrize("rolling", [{"maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}])
async def test_an_update_reaches_every_node(world, rolling):
    world.add("nodes", node("node-2"), "")
    world.add(DAEMONSETS, daemon(updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling}))
    await world.until(lambda: is_settled(world, 2))
    image = {"name": "c", "image": "nginx:2"}
    world.edit(DAEMONSETS, "agent", lambda obj: obj["spec"]["template"]["spec"].update(containers=[image]))
    await world.until(
        lambda: (
            is_settled(world, 2)
            and {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"nginx:2"}
        )
    )


async def test_a_broken_update_takes_one_pod_down_at_most(world):
    world.add("nodes", node("node-2"), "")
    world.add(DAEMONSETS, daemon())
    await world.until(lambda: is_settled(world, 2))
    world.broken_images.add("bad")
    bad = {"name": "c", "image": "bad"}
    world.edit(DAEMONSETS, "agent", lambda obj: obj["spec"]["template"]["spec"].update(containers=[bad]))
    await world.settle()
    assert sorted(pod["spec"]["containers"][0]["image"] for pod in world.pods()) == ["bad", "nginx:1"]
    assert status(world)["numberUnavailable"] == 1


@pytest.mark.parametrize(
    ("spec", "taints", "expected"),
    [
        ({}, [], True),
        ({}, [{"key": "x", "effect": "NoSchedule"}], False),
        ({}, [{"key": "x", "effect": "PreferNoSchedule"}], True),
        ({"tolerations": [{"operator": "Exists"}]}, [{"key": "x", "effect": "NoSchedule"}], True),
        ({"tolerations": [{"key": "x", "value": "1"}]}, [{"key": "x", "effect": "NoExecute"}], False),
        ({}, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], True),
    ],
)
def test_taints(spec, taints, expected):
    assert suits(node(taints=taints), {"spec": spec}) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"key": "n", "operator": "In", "values": ["4"]}, True),
        ({"key": "n", "operator": "NotIn", "values": ["4"]}, False),
        ({"key": "n", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "n", "operator": "Lt", "values": ["3"]}, False),
        ({"key": "m", "operator": "Exists"}, False),
        ({"key": "m", "operator": "DoesNotExist"}, True),
    ],
)
def test_affinity(rule, expected):
    made = node()
    made["metadata"]["labels"] = {"n": "4"}
    required = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    pod = {
        "spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}
    }
    assert suits(made, pod) is expected
