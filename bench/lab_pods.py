"""Many pods in one lab: 10, 100, 500 of them, from POST to Running and from DELETE to gone; 500 replicas behind a Service; what each costs.

Three nodes, because a node takes 250 pods. Out: seconds, MiB a pod, CPU milliseconds a pod. Called by ``lab.py``.
"""

from __future__ import annotations

import asyncio
import json
import time

from labs import Api, Cost, cost, median_ms, pod
from stockade.lab.paths import LabPaths

SIZES = (10, 100, 500)
CONNECTIONS = 50  # of the one client
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def pods_by_number(paths: LabPaths, sizes: tuple[int, ...] = SIZES) -> dict[str, float]:
    found: dict[str, float] = {}
    async with Api(paths.kubeconfig, connections=CONNECTIONS) as api:
        for size in sizes:
            before = cost(paths)
            bodies = [pod(f"many-{size}-{number}") for number in range(size)]
            found[f"{size} pods s"] = await api.running_after(bodies)
            after = cost(paths)
            found |= per_pod(before, after, size)
            names = [body["metadata"]["name"] for body in bodies]
            found[f"delete {size} pods s"] = await api.gone_after(names)
            found[f"delete {size} daemon ms/pod"] = 1000 * (cost(paths).daemon_cpu - after.daemon_cpu) / size
    return found


def per_pod(before: Cost, after: Cost, size: int) -> dict[str, float]:
    result = {
        f"{size} pods: daemon ms/pod": 1000 * (after.daemon_cpu - before.daemon_cpu) / size,
        f"{size} pods: agents ms/pod": 1000 * (after.agents_cpu - before.agents_cpu) / size,
        f"{size} pods: zygote ms/pod": 1000 * (after.zygote_cpu - before.zygote_cpu) / size,
    }
    if size >= 100:
        result |= {
            f"{size} pods: our MiB/pod": (after.ours - before.ours) / size,
            f"{size} pods: of it daemon": (after.daemon - before.daemon) / size,
            f"{size} pods: of it agents": (after.agents - before.agents) / size,
            f"{size} pods: their MiB/pod": (after.pods - before.pods) / size,
            f"{size} pods: kernel MiB/pod": (after.kernel - before.kernel) / size,
        }
    return result


async def replicas(paths: LabPaths, size: int = SIZES[-1]) -> dict[str, float]:
    """All of them behind one Service: each that becomes ready changes what all of them have in common."""
    labels, name = {"app": "web"}, f"{size} replicas"
    service = {"selector": labels, "ports": [{"port": 80}]}
    template = {"metadata": {"labels": labels}, "spec": pod("web")["spec"]}
    spec = {"replicas": size, "selector": {"matchLabels": labels}, "template": template}
    async with Api(paths.kubeconfig) as api:
        await api.post(SERVICES, _object("v1", "Service", service))
        before, started = cost(paths), time.perf_counter()
        await api.post(DEPLOYMENTS, _object("apps/v1", "Deployment", spec))
        waits = await _until_available(api, size)
        took, after = time.perf_counter() - started, cost(paths)
        await api.delete(f"{DEPLOYMENTS}/web")
        while json.loads(await api.get(f"{api.base}?limit=1&labelSelector=app%3Dweb"))["items"]:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
        gone = time.perf_counter() - started - took
    return {
        f"{name} s": took,
        f"{name}: daemon ms/pod": 1000 * (after.daemon_cpu - before.daemon_cpu) / size,
        f"{name}: our MiB/pod": (after.ours - before.ours) / size,
        f"{name}: GET ms": median_ms(waits),
        f"{name}: longest GET ms": 1000 * max(waits),
        f"delete {name} s": gone,
    }


async def _until_available(api: Api, size: int) -> list[float]:
    """How long each GET took meanwhile."""
    waits: list[float] = []
    while True:
        started = time.perf_counter()
        status = json.loads(await api.get(f"{DEPLOYMENTS}/web")).get("status", {})
        waits.append(time.perf_counter() - started)
        if status.get("availableReplicas") == size:
            return waits
        await asyncio.sleep(0.02)


def _object(version: str, kind: str, spec: dict) -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": spec}
