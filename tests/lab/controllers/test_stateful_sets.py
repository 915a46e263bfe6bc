"""StatefulSets: stable names, one after the other, and revisions."""

from __future__ import annotations

from .conftest import deployment

STATEFULSETS, REVISIONS = "statefulsets.apps", "controllerrevisions.apps"


def stateful(name="db", replicas=3, **spec):
    made = deployment(name, replicas, **{"serviceName": name, **spec})
    return {**made, "kind": "StatefulSet"}


def names(world):
    return sorted(pod["metadata"]["name"] for pod in world.pods())


def status(world):
    return world.get(STATEFULSETS, "db").get("status", {})


def is_settled(world, replicas=3):
    now = status(world)
    return now.get("readyReplicas", 0) == now.get("updatedReplicas", 0) == replicas == len(world.pods())


def set_image(image):
    return lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=image)


async def test_pods_come_in_order_with_names_of_their_own(world):
    world.add(STATEFULSETS, stateful())
    await world.until(lambda: is_settled(world))
    assert names(world) == ["db-0", "db-1", "db-2"]
    created = [
        name for change, resource, name in world.registry.changes if (change, resource) == ("ADDED", "pods")
    ]
    assert created == ["db-0", "db-1", "db-2"]
    first = world.get("pods", "db-0")
    assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("db-0", "db")
    assert first["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    [revision] = world.all(REVISIONS)
    assert first["metadata"]["labels"]["controller-revision-hash"] == revision["metadata"]["name"]
    assert status(world)["currentRevision"] == status(world)["updateRevision"] == revision["metadata"]["name"]


async def test_the_next_waits_for_the_one_before(world):
    world.broken_images.add("nginx:1")
    world.add(STATEFULSETS, stateful())
    await world.settle()
    assert names(world) == ["db-0"]
    world.edit(STATEFULSETS, "db", lambda obj: obj["spec"].update(podManagementPolicy="Parallel"))
    await world.until(lambda: len(world.pods()) == 3)


async def test_the_highest_goes_first(world):
    world.add(STATEFULSETS, stateful())
    await world.until(lambda: is_settled(world))
    world.edit(STATEFULSETS, "db", lambda obj: obj["spec"].update(replicas=1))
    await world.until(lambda: names(world) == ["db-0"])
    gone = [
        name for change, resource, name in world.registry.changes if (change, resource) == ("DELETED", "pods")
    ]
    assert gone == ["db-2", "db-1"]


async def test_a_lost_pod_comes_back_under_its_name(world):
    world.add(STATEFULSETS, stateful())
    await world.until(lambda: is_settled(world))
    before = world.get("pods", "db-1")["metadata"]["uid"]
    world.registry.delete("pods", "default", "db-1")
    await world.until(lambda: is_settled(world) and world.get("pods", "db-1")["metadata"]["uid"] != before)


async def test_an_update_goes_from_the_highest_and_stops_at_the_partition(world):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    world.add(STATEFULSETS, stateful(updateStrategy=rolling))
    await world.until(lambda: is_settled(world))
    world.edit(STATEFULSETS, "db", set_image("nginx:2"))
    await world.until(
        lambda: status(world).get("updatedReplicas") == 2 and status(world)["readyReplicas"] == 3
    )
    await world.settle()
    images = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in world.pods()}
    assert images == {"db-0": "nginx:1", "db-1": "nginx:2", "db-2": "nginx:2"}
    assert status(world)["currentRevision"] != status(world)["updateRevision"]
    world.edit(
        STATEFULSETS, "db", lambda obj: obj["spec"]["updateStrategy"]["rollingUpdate"].update(partition=0)
    )
    await world.until(lambda: status(world)["currentRevision"] == status(world)["updateRevision"])
    assert len(world.all(REVISIONS)) == 2


async def test_claims_are_volumes_that_end_with_the_pod(world):
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    world.add(STATEFULSETS, stateful(replicas=1, volumeClaimTemplates=[claim]))
    await world.until(lambda: is_settled(world, 1))
    assert world.get("pods", "db-0")["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]
    assert len(world.events("NoPersistentVolumes")) == 1
