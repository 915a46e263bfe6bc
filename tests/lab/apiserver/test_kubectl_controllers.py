"""kubectl, the API server and the controllers together; a kubelet that reports every bound pod as running at once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.controllers import run_controllers


async def kubelet(store):
    async for change in store.watch("pods"):
        pod, metadata = change.object, change.object["metadata"]
        if metadata.get("deletionTimestamp"):
            store.remove("pods", metadata["namespace"], metadata["name"], metadata["uid"])
        elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
            with contextlib.suppress(ApiError):
                store.mutate("pods", metadata["namespace"], metadata["name"], run, "status")


def run(pod):
    address = f"10.244.0.{int(pod['metadata']['resourceVersion']) % 250 + 1}"
    pod["status"] |= {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": c["name"], "ready": True, "state": {"running": {}}} for c in pod["spec"]["containers"]
        ],
    }


@pytest.fixture(autouse=True)
async def cluster(store):
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    store.create("nodes", "", {"metadata": {"name": "node-1"}, "status": ready})
    tasks = [asyncio.create_task(kubelet(store)), asyncio.create_task(run_controllers(store))]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_deployment_from_creation_to_deletion(kubectl, store):
    assert (await kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")).code == 0
    assert (await kubectl("expose", "deployment", "web", "--port=80")).code == 0
    rollout = await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert rollout.out.endswith('deployment "web" successfully rolled out\n'), rollout
    assert "3/3" in (await kubectl("get", "deployment", "web")).out
    async with asyncio.timeout(10):
        async for change in store.watch("endpointslices.discovery.k8s.io", "default"):
            if len(change.object.get("endpoints") or []) == 3:
                break
    described = (await kubectl("describe", "service", "web")).out
    assert ":80" in described
    assert (await kubectl("set", "image", "deployment/web", "nginx=nginx:1.27")).code == 0
    assert (await kubectl("rollout", "status", "deployment/web", "--timeout=20s")).code == 0
    assert {pod["spec"]["containers"][0]["image"] for pod in store.list("pods")} == {"nginx:1.27"}
    assert (await kubectl("delete", "deployment", "web")).code == 0
    async with asyncio.timeout(10):
        while store.list("pods") or store.list("replicasets.apps"):  # noqa: ASYNC110 - two kinds to wait for
            await asyncio.sleep(0.05)


async def test_deleting_a_namespace_empties_it(kubectl, store):
    assert (await kubectl("create", "namespace", "shop")).code == 0
    assert (await kubectl("run", "web", "--image=nginx", "-n", "shop")).code == 0
    gone = await kubectl("delete", "namespace", "shop", "--timeout=20s")
    assert (gone.code, gone.out) == (0, 'namespace "shop" deleted\n'), gone
    assert store.list("pods") == []
    assert store.find("namespaces", "", "shop") is None


async def test_orphans_outlive_their_deployment(kubectl, store):
    await kubectl("create", "deployment", "web", "--image=nginx")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    how = "--cascade=false" if kubectl.old else "--cascade=orphan"
    assert (await kubectl("delete", "deployment", "web", how)).code == 0
    await asyncio.sleep(0.3)
    assert len(store.list("replicasets.apps")) == len(store.list("pods")) == 1
