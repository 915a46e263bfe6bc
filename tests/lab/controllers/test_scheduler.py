from __future__ import annotations

import asyncio

from stockade.lab.apiserver.registry import Change
from stockade.lab.controllers.scheduler import Scheduler

from .conftest import World, node, pod


def unplaced(name="a", **spec):
    obj = pod(name, **spec)
    del obj["spec"]["nodeName"], obj["status"]
    return obj


async def test_a_pod_gets_the_node(world):
    world.add("pods", unplaced())
    await world.until(lambda: world.get("pods", "a")["spec"].get("nodeName") == "node-1")
    conditions = {c["type"]: c["status"] for c in world.get("pods", "a")["status"]["conditions"]}
    assert conditions["PodScheduled"] == "True"
    assert world.events("Scheduled") == ["Successfully assigned default/a to node-1"]


async def test_a_pod_waits_for_a_node_that_fits(world):
    world.add("pods", unplaced(nodeSelector={"disk": "ssd"}))
    await world.until(lambda: world.events("FailedScheduling"))
    await world.settle()
    text = (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert world.events("FailedScheduling") == [text]
    world.edit("nodes", "node-1", lambda n: n["metadata"].update(labels={"disk": "ssd"}), "")
    await world.until(lambda: world.get("pods", "a")["spec"].get("nodeName"))
    [scheduled] = [c for c in world.get("pods", "a")["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert scheduled["status"] == "True"
    assert "message" not in scheduled


async def test_cordoned_tainted_and_unready_nodes_are_passed_over():
    world = World()
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    unready = node("unready")
    unready["status"]["conditions"][0]["status"] = "False"
    for obj in (node("cordoned", unschedulable=True), node("tainted", taints=[taint]), unready):
        world.add("nodes", obj, "")
    world.add("pods", unplaced("a"))
    world.add("pods", unplaced("b", tolerations=[{"key": "gpu", "operator": "Exists"}]))
    running = asyncio.create_task(Scheduler(world.registry).run())
    await world.until(lambda: world.events("FailedScheduling") and world.events("Scheduled"))
    running.cancel()
    assert world.events("Scheduled") == ["Successfully assigned default/b to tainted"]
    [text] = world.events("FailedScheduling")
    assert text == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s). "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


async def test_the_emptier_node_is_taken(world):
    world.add("nodes", node("node-2"), "")
    world.add("pods", pod("busy"))
    world.add("pods", unplaced())
    await world.until(lambda: world.get("pods", "a")["spec"].get("nodeName"))
    assert world.get("pods", "a")["spec"]["nodeName"] == "node-2"


async def test_pods_of_other_schedulers_and_gated_pods_are_left_alone(world):
    world.add("pods", unplaced("other", schedulerName="mine"))
    world.add("pods", unplaced("gated", schedulingGates=[{"name": "wait"}]))
    await world.settle()
    assert not any("nodeName" in p["spec"] for p in world.pods())


def on_port_8080(name):
    port = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}
    return unplaced(name, containers=[{"name": "c", "image": "busybox", "ports": [port]}])


async def test_one_host_port_goes_from_pod_to_pod(world):
    for name in ("a", "b"):
        world.add("pods", on_port_8080(name))
    await world.until(lambda: world.events("FailedScheduling"))
    assert [bool(p["spec"].get("nodeName")) for p in world.pods()] == [True, False]
    world.registry.delete("pods", "default", "a", 0)
    await world.until(lambda: world.get("pods", "b")["spec"].get("nodeName"))


async def test_a_pod_just_placed_counts_before_the_watch_says_so():
    world = World()
    world.add("nodes", node("node-1"), "")
    scheduler, names = Scheduler(world.registry), ("a", "b")
    for name in names:
        world.add("pods", on_port_8080(name))
        scheduler._of_pod(Change("ADDED", world.get("pods", name)))
    for name in names:
        scheduler._reconcile(("default", name))
    assert [bool(p["spec"].get("nodeName")) for p in world.pods()] == [True, False]
