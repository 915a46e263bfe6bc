"""Deployments and ReplicaSets, with pods that run."""

from __future__ import annotations

import pytest

from stockade.lab.controllers.objects import is_ready

from .conftest import deployment, pod

DEPLOYMENTS, REPLICASETS = "deployments.apps", "replicasets.apps"


def status(world, name="web"):
    return world.get(DEPLOYMENTS, name).get("status", {})


def is_rolled_out(world, replicas=3):
    """What ``kubectl rollout status`` looks at."""
    obj = world.get(DEPLOYMENTS, "web")
    now = obj.get("status", {})
    counts = [now.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return now.get("observedGeneration") == obj["metadata"]["generation"] and counts == [replicas] * 3


def conditions(world):
    return {c["type"]: (c["status"], c["reason"]) for c in status(world)["conditions"]}


def set_image(image):
    return lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=image)


def images(world):
    return sorted(p["spec"]["containers"][0]["image"] for p in world.pods())


def names(world):
    return {p["metadata"]["name"] for p in world.pods()}


async def test_a_deployment_brings_up_its_pods(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    [replicaset] = world.all(REPLICASETS)
    hash_ = replicaset["metadata"]["labels"]["pod-template-hash"]
    assert replicaset["metadata"]["name"] == f"web-{hash_}"
    assert replicaset["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hash_}
    for made in world.pods():
        assert made["metadata"]["name"].startswith(f"web-{hash_}-")
        assert made["metadata"]["ownerReferences"][0]["uid"] == replicaset["metadata"]["uid"]
        assert made["metadata"]["labels"] == {"app": "web", "pod-template-hash": hash_}
    assert conditions(world) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert status(world)["readyReplicas"] == 3
    assert "unavailableReplicas" not in status(world)
    assert (
        world.get(DEPLOYMENTS, "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    )
    assert len(world.events("SuccessfulCreate")) == 3
    assert world.events("ScalingReplicaSet") == [f"Scaled up replica set web-{hash_} from 0 to 3"]


async def test_when_all_is_in_order_nothing_is_written(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    await world.settle()
    before = len(world.registry.changes)
    world.edit("nodes", "node-1", lambda n: n["metadata"].update(labels={"x": "y"}), "")
    await world.settle()
    assert len(world.registry.changes) == before + 1


async def test_scaling(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(replicas=5))
    await world.until(lambda: is_rolled_out(world, 5))
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(replicas=0))
    await world.until(lambda: is_rolled_out(world, 0) and not world.pods())
    assert len(world.all(REPLICASETS)) == 1


async def test_a_rolling_update_keeps_within_its_bounds(world):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    world.add(DEPLOYMENTS, deployment(strategy=rolling))
    await world.until(lambda: is_rolled_out(world))
    counts = []

    def done():
        ready = [p for p in world.pods() if is_ready(p)]
        counts.append((len(world.pods()), len(ready)))
        return is_rolled_out(world) and images(world) == ["nginx:2"] * 3

    world.edit(DEPLOYMENTS, "web", set_image("nginx:2"))
    await world.until(done)
    assert max(total for total, _ in counts) <= 4
    assert min(ready for _, ready in counts) >= 3
    old, new = sorted(world.all(REPLICASETS), key=lambda rs: rs["spec"]["replicas"])
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 3)
    assert new["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_an_update_that_never_gets_ready_leaves_the_old_pods(world):
    world.broken_images.add("broken")
    world.add(DEPLOYMENTS, deployment(progressDeadlineSeconds=1))
    await world.until(lambda: is_rolled_out(world))
    world.edit(DEPLOYMENTS, "web", set_image("broken"))
    await world.until(lambda: conditions(world)["Progressing"] == ("False", "ProgressDeadlineExceeded"))
    assert images(world).count("nginx:1") == 3
    assert images(world).count("broken") == 1
    assert conditions(world)["Available"][0] == "True"
    world.edit(DEPLOYMENTS, "web", set_image("nginx:1"))  # rollout undo
    await world.until(lambda: is_rolled_out(world) and images(world) == ["nginx:1"] * 3)
    assert (
        world.get(DEPLOYMENTS, "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    )


async def test_recreate_ends_every_old_pod_first(world):
    world.add(DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
    await world.until(lambda: is_rolled_out(world))
    world.kubelet_removes = False
    world.edit(DEPLOYMENTS, "web", set_image("nginx:2"))
    await world.until(lambda: not world.pods())
    await world.settle()
    assert {p["spec"]["containers"][0]["image"] for p in world.all("pods")} == {"nginx:1"}
    world.kubelet_removes = True
    for old in world.all("pods"):
        world.registry.remove("pods", "default", old["metadata"]["name"])
    await world.until(lambda: is_rolled_out(world) and images(world) == ["nginx:2"] * 3)


async def test_a_paused_deployment_does_not_roll(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    world.edit(DEPLOYMENTS, "web", lambda obj: (set_image("nginx:2")(obj), obj["spec"].update(paused=True)))
    await world.settle()
    assert images(world) == ["nginx:1"] * 3
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(paused=False))
    await world.until(lambda: is_rolled_out(world) and images(world) == ["nginx:2"] * 3)


async def test_a_change_cause_reaches_the_replica_set(world):
    """``kubectl rollout history`` reads it there; people write it after the change."""
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    cause = {"kubernetes.io/change-cause": "better"}
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["metadata"]["annotations"].update(cause))
    await world.until(lambda: cause.items() <= world.all(REPLICASETS)[0]["metadata"]["annotations"].items())
    assert is_rolled_out(world)


async def test_old_revisions_are_kept_up_to_the_limit(world):
    world.add(DEPLOYMENTS, deployment(replicas=1, revisionHistoryLimit=1))
    for number in range(1, 5):
        world.edit(DEPLOYMENTS, "web", set_image(f"nginx:{number}"))
        await world.until(lambda: is_rolled_out(world, 1) and images(world) == [f"nginx:{number}"])  # noqa: B023
    await world.until(lambda: len(world.all(REPLICASETS)) == 2)


async def test_a_pod_that_goes_is_replaced(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    victim = world.pods()[0]["metadata"]["name"]
    world.registry.delete("pods", "default", victim)
    await world.until(lambda: len(world.pods()) == 3 and victim not in names(world))


async def test_a_relabelled_pod_is_released_and_replaced(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    name = world.pods()[0]["metadata"]["name"]
    world.edit("pods", name, lambda p: p["metadata"]["labels"].update(app="debug"))
    await world.until(lambda: len(world.pods()) == 4 and is_rolled_out(world))
    assert world.get("pods", name)["metadata"]["ownerReferences"] == []


async def test_an_orphan_is_adopted_instead_of_a_new_pod(world):
    labels = {"app": "solo"}
    world.add("pods", pod("mine", labels))
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    world.add(
        REPLICASETS,
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "solo"}, "spec": spec},
    )
    await world.until(lambda: world.get("pods", "mine")["metadata"].get("ownerReferences"))
    await world.settle()
    assert [p["metadata"]["name"] for p in world.pods()] == ["mine"]
    assert world.get(REPLICASETS, "solo")["status"]["readyReplicas"] == 1


async def test_an_orphaned_replicaset_is_adopted(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    before = names(world)
    [replicaset] = world.all(REPLICASETS)
    world.edit(
        REPLICASETS, replicaset["metadata"]["name"], lambda rs: rs["metadata"].update(ownerReferences=[])
    )
    world.registry.delete(DEPLOYMENTS, "default", "web")
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    assert names(world) == before
    assert len(world.all(REPLICASETS)) == 1


async def test_a_taken_name_is_avoided(world):
    world.add(DEPLOYMENTS, deployment(replicas=1))
    await world.until(lambda: is_rolled_out(world, 1))
    [mine] = world.all(REPLICASETS)
    world.registry.delete(DEPLOYMENTS, "default", "web")
    await world.until(lambda: not world.all(REPLICASETS))
    labels = {"app": "stranger"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    stranger = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": mine["metadata"]["name"]},
        "spec": spec,
    }
    world.add(REPLICASETS, stranger)
    world.add(DEPLOYMENTS, deployment(replicas=1))
    await world.until(lambda: is_rolled_out(world, 1))
    assert status(world)["collisionCount"] == 1
    assert len(world.all(REPLICASETS)) == 2


async def test_deleting_a_deployment_takes_all_along(world):
    world.add(DEPLOYMENTS, deployment())
    await world.until(lambda: is_rolled_out(world))
    world.registry.delete(DEPLOYMENTS, "default", "web")
    await world.until(lambda: not world.all(REPLICASETS) and not world.all("pods"))


@pytest.mark.parametrize("count", [100])
async def test_many_pods_at_once(world, count):
    world.add(DEPLOYMENTS, deployment(replicas=count))
    await world.until(lambda: is_rolled_out(world, count))
