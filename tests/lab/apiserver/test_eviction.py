"""Evictions, and the budgets that refuse them."""

from __future__ import annotations

import pytest

from stockade.lab.disruption import BUDGETS

PODS = "/api/v1/namespaces/default/pods"
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def add_pod(store, name="web", *, ready=True, phase="Running"):
    spec = {"nodeName": "node-1", "containers": [{"name": "c", "image": "nginx:1"}]}
    store.create("pods", "default", {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    store.mutate("pods", "default", name, lambda obj: obj.update(status=status), "status")


def add_budget(store, name="web", *, allowed=0, healthy=1, wanted=1, seen=1, **spec):
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1, **spec}
    store.create(BUDGETS, "default", {"metadata": {"name": name}, "spec": spec})
    status = {"disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": wanted}
    given = {**status, "expectedPods": 1, "observedGeneration": seen}
    store.mutate(BUDGETS, "default", name, lambda obj: obj.update(status=given), "status")


async def evict(client, name="web", **query):
    """HTTP code, message and the causes' messages."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    async with client.post(f"{PODS}/{name}/eviction", json=body, params=query) as response:
        found = await response.json()
    causes = found.get("details", {}).get("causes", [])
    return response.status, found.get("message", ""), [cause["message"] for cause in causes]


def is_ending(store, name="web"):
    return "deletionTimestamp" in store.get("pods", "default", name)["metadata"]


async def test_a_budget_is_spent_once(client, store):
    for name in ("web", "more"):
        add_pod(store, name)
    add_budget(store, allowed=1, healthy=2)
    assert (await evict(client, dryRun="All"))[0] == 201
    assert not is_ending(store)
    assert (await evict(client))[0] == 201
    assert is_ending(store)
    status = store.get(BUDGETS, "default", "web")["status"]
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["web"])
    assert [(one["status"], one["reason"]) for one in status["conditions"]] == [("False", "InsufficientPods")]
    why = "The disruption budget web needs 1 healthy pods and has 2 currently"
    assert await evict(client, "more") == (429, REFUSED, [why])
    assert not is_ending(store, "more")
    assert (await evict(client))[0] == 201  # it ends anyway


@pytest.mark.parametrize(
    ("pod", "budget"),
    [
        ({}, {"selector": None}),
        ({}, {"selector": {"matchLabels": {"app": "other"}}}),
        ({"phase": "Pending", "ready": False}, {"healthy": 0}),
        ({"phase": "Succeeded", "ready": False}, {"healthy": 0}),
        ({"ready": False}, {}),
        ({"ready": False}, {"healthy": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
    ],
)
async def test_what_needs_no_budget(client, store, pod, budget):
    add_pod(store, **pod)
    add_budget(store, **budget)
    assert (await evict(client))[0] == 201


@pytest.mark.parametrize(
    ("pod", "budget", "cause"),
    [
        ({}, {}, "needs 1 healthy pods and has 1 currently"),
        ({}, {"selector": {}}, "needs 1 healthy pods and has 1 currently"),
        ({"ready": False}, {"healthy": 0}, "needs 1 healthy pods and has 0 currently"),
        ({"ready": False}, {"healthy": 0, "wanted": 0}, "needs 0 healthy pods and has 0 currently"),
        ({}, {"allowed": 1, "seen": 0}, "is still being processed by the server."),
    ],
)
async def test_what_is_refused(client, store, pod, budget, cause):
    add_pod(store, **pod)
    add_budget(store, **budget)
    assert await evict(client) == (429, REFUSED, [f"The disruption budget web {cause}"])
    assert not is_ending(store)


async def test_two_budgets_of_one_pod(client, store):
    add_pod(store)
    for name in ("one", "two"):
        add_budget(store, name, allowed=1)
    code, message, _ = await evict(client)
    assert (code, message.partition(",")[0]) == (500, "This pod has more than one PodDisruptionBudget")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "minAvailable and maxUnavailable cannot be both set"),
        ({"minAvailable": "200%"}, 'spec.minAvailable: Invalid value: "200%": must not be greater than 100%'),
        ({"maxUnavailable": "some"}, 'spec.maxUnavailable: Invalid value: "some": a valid percent string must be'),
        ({"maxUnavailable": -1}, "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"),
        ({"unhealthyPodEvictionPolicy": "Never"}, 'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never"'),
    ],
)  # fmt: skip
async def test_budgets_that_are_refused(client, spec, said):
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    async with client.post(path, json={"metadata": {"name": "web"}, "spec": spec}) as response:
        found = await response.json()
    assert response.status == 422
    assert said in found["message"]


async def test_how_kubectl_get_shows_it(client, store):
    add_budget(store, minAvailable="50%")
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    async with client.get(path, headers=headers) as response:
        found = await response.json()
    names = ["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]
    assert [column["name"] for column in found["columnDefinitions"]] == names
    assert found["rows"][0]["cells"][:4] == ["web", "50%", "N/A", 0]
