"""The status of PodDisruptionBudgets."""

from __future__ import annotations

import pytest

from stockade.lab.disruption import BUDGETS

from .conftest import deployment, pod


def budget(name="web", *, app="web", **bounds):
    spec = {"selector": {"matchLabels": {"app": app}}, **bounds}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": spec,
    }


def counts(world, name="web"):
    """Allowed, healthy, wanted healthy, expected."""
    status = world.get(BUDGETS, name).get("status") or {}
    fields = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    return tuple(status.get(field) for field in fields)


def condition(world, name="web"):
    [found] = world.get(BUDGETS, name)["status"]["conditions"]
    return found["type"], found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("bounds", "wanted"),
    [
        ({"minAvailable": 2}, (2, 4, 2, 4)),
        ({"minAvailable": 9}, (0, 4, 9, 4)),
        ({"minAvailable": "60%"}, (1, 4, 3, 4)),
        ({"maxUnavailable": 1}, (1, 4, 3, 4)),
        ({"maxUnavailable": "30%"}, (2, 4, 2, 4)),
        ({"maxUnavailable": 0}, (0, 4, 4, 4)),
        ({}, (4, 4, 0, 4)),
    ],
)
async def test_what_is_left(world, bounds, wanted):
    world.add(BUDGETS, budget(**bounds))
    world.add("deployments.apps", deployment(replicas=4))
    await world.until(lambda: counts(world) == wanted)
    reason = ("True", "SufficientPods") if wanted[0] else ("False", "InsufficientPods")
    assert condition(world) == ("DisruptionAllowed", *reason, "")


async def test_it_follows_readiness_and_the_number_that_is_asked_for(world):
    world.add("deployments.apps", deployment(replicas=3))
    world.add(BUDGETS, budget(maxUnavailable=1))
    await world.until(lambda: counts(world) == (1, 3, 2, 3))
    first = world.pods()[0]["metadata"]["name"]
    world.edit("pods", first, lambda obj: obj["status"].update(conditions=[]))
    await world.until(lambda: counts(world) == (0, 2, 2, 3))
    world.edit("deployments.apps", "web", lambda obj: obj["spec"].update(replicas=1))
    await world.until(lambda: counts(world)[2:] == (0, 1))


async def test_pods_that_may_be_evicted_count_no_more(world):
    """Until they end, or two minutes have passed."""
    world.add("deployments.apps", deployment(replicas=2))
    world.add(BUDGETS, budget(minAvailable=1))
    await world.until(lambda: counts(world) == (1, 2, 1, 2))
    name = world.pods()[0]["metadata"]["name"]

    def evict(at):
        return lambda obj: obj["status"].update(disruptedPods={name: at})

    world.edit(BUDGETS, "web", evict("2099-01-01T00:00:00Z"))
    await world.until(lambda: counts(world) == (0, 1, 1, 2))
    world.edit(BUDGETS, "web", evict("2020-01-01T00:00:00Z"))
    await world.until(lambda: counts(world) == (1, 2, 1, 2))
    assert "disruptedPods" not in world.get(BUDGETS, "web")["status"]


async def test_an_owner_without_replicas_is_told(world):
    """maxUnavailable cannot be counted for the pods of a DaemonSet; minAvailable can."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": deployment()["spec"]["template"]}
    world.add(
        "daemonsets.apps",
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"}, "spec": spec},
    )
    world.add(BUDGETS, budget(maxUnavailable=1))
    text = "daemonsets.apps does not implement the scale subresource"
    await world.until(lambda: world.pods() and counts(world)[0] == 0)
    await world.until(lambda: condition(world) == ("DisruptionAllowed", "False", "SyncFailed", text))
    world.add(BUDGETS, budget("least", minAvailable=0))
    await world.until(lambda: counts(world, "least") == (1, 1, 0, 1))


async def test_pods_of_nobody(world):
    world.add(BUDGETS, budget("alone", app="alone", minAvailable=1))
    world.add(BUDGETS, budget("share", app="alone", maxUnavailable=1))
    world.add("pods", pod("alone", {"app": "alone"}))
    await world.until(lambda: counts(world, "alone") == (0, 1, 1, 1))
    await world.until(lambda: counts(world, "share") == (0, 1, 0, 0))
