"""Jobs, with pods that end when the test says so; and ReplicationControllers."""

from __future__ import annotations

import pytest

from stockade.lab.controllers.job_pods import TRACKING

from .conftest import deployment

JOBS = "jobs.batch"


def job(**spec):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"completions": 1, "parallelism": 1, "backoffLimit": 1, "template": template, **spec}
    spec.setdefault("selector", {"matchLabels": {"job-name": "work"}})
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": spec}


def end(world, phase, name=None):
    """End one running pod, as the kubelet would report it."""
    running = [pod for pod in world.pods() if pod.get("status", {}).get("phase") == "Running"]
    chosen = next(pod for pod in running if name in (None, pod["metadata"]["name"]))
    stopped = {"terminated": {"exitCode": int(phase == "Failed"), "finishedAt": "2026-01-01T00:00:00Z"}}
    result = {"phase": phase, "containerStatuses": [{"name": "c", "state": stopped}]}
    world.registry.mutate(
        "pods", "default", chosen["metadata"]["name"], lambda p: p.update(status=result), "status"
    )
    return chosen


def running(world):
    return [pod for pod in world.pods() if pod.get("status", {}).get("phase") == "Running"]


def status(world):
    return world.get(JOBS, "work").get("status", {})


def conditions(world):
    return {c["type"]: c["reason"] for c in status(world).get("conditions", []) if c["status"] == "True"}


async def test_a_job_ends_when_enough_pods_have_succeeded(world):
    world.add(JOBS, job(completions=3, parallelism=2))
    for done in range(3):
        await world.until(lambda done=done: len(running(world)) == min(2, 3 - done))
        end(world, "Succeeded")
    await world.until(lambda: "Complete" in conditions(world))
    assert conditions(world) == {"Complete": "CompletionsReached", "SuccessCriteriaMet": "CompletionsReached"}
    assert status(world)["succeeded"] == 3
    assert "active" not in status(world)
    assert all(TRACKING not in pod["metadata"].get("finalizers", ()) for pod in world.pods())


async def test_failures_are_counted_once_and_end_it(world):
    world.add(JOBS, job())
    for count in (1, 2):
        await world.until(lambda: running(world))
        end(world, "Failed")
        await world.until(lambda count=count: status(world).get("failed") == count)
    await world.until(lambda: conditions(world).get("Failed") == "BackoffLimitExceeded")
    await world.settle()
    assert status(world)["failed"] == 2
    assert len(world.pods()) == 2


async def test_indexes(world):
    world.add(JOBS, job(completions=3, parallelism=3, completionMode="Indexed"))
    await world.until(lambda: len(running(world)) == 3)
    index = "batch.kubernetes.io/job-completion-index"
    by_index = {pod["metadata"]["annotations"][index]: pod for pod in world.pods()}
    assert sorted(by_index) == ["0", "1", "2"]
    assert by_index["1"]["spec"]["hostname"] == "work-1"
    assert by_index["1"]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    for number in ("2", "0"):
        end(world, "Succeeded", by_index[number]["metadata"]["name"])
    await world.until(lambda: status(world).get("completedIndexes") == "0,2")
    end(world, "Failed", by_index["1"]["metadata"]["name"])
    await world.until(lambda: len(running(world)) == 1)
    assert running(world)[0]["metadata"]["annotations"][index] == "1"
    end(world, "Succeeded")
    await world.until(lambda: "Complete" in conditions(world))
    assert status(world)["completedIndexes"] == "0-2"


async def test_a_suspended_job_has_no_pods(world):
    world.add(JOBS, job(suspend=True))
    await world.until(lambda: conditions(world).get("Suspended") == "JobSuspended")
    assert world.pods() == []
    world.edit(JOBS, "work", lambda obj: obj["spec"].update(suspend=False))
    await world.until(lambda: running(world))
    world.edit(JOBS, "work", lambda obj: obj["spec"].update(suspend=True))
    await world.until(lambda: world.pods() == [])
    assert "startTime" not in status(world)


async def test_deadline_and_time_to_live(world):
    world.add(JOBS, job(activeDeadlineSeconds=1, ttlSecondsAfterFinished=1))
    await world.until(lambda: running(world))
    await world.until(lambda: conditions(world).get("Failed") == "DeadlineExceeded")
    await world.until(lambda: world.registry.find(JOBS, "default", "work") is None)
    await world.until(lambda: world.pods() == [])


async def test_pods_without_their_job_are_not_held_back(world):
    world.kubelet_removes = False
    world.add(JOBS, job())
    await world.until(lambda: running(world))
    world.registry.delete(JOBS, "default", "work")
    await world.until(
        lambda: all(TRACKING not in pod["metadata"].get("finalizers", ()) for pod in world.all("pods"))
    )


@pytest.mark.parametrize("replicas", [2, 0])
async def test_a_replication_controller_keeps_its_pods(world, replicas):
    made = {**deployment(replicas=3), "apiVersion": "v1", "kind": "ReplicationController"}
    made["spec"]["selector"] = {"app": "web"}
    world.add("replicationcontrollers", made)
    await world.until(lambda: len(world.pods()) == 3)
    assert world.pods()[0]["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController"
    world.edit("replicationcontrollers", "web", lambda obj: obj["spec"].update(replicas=replicas))
    await world.until(lambda: len(world.pods()) == replicas)
    status = world.get("replicationcontrollers", "web")["status"]
    assert status["replicas"] == replicas
