"""Many pods in one lab: 10, 100, 500 of them, from POST to Running and from DELETE to gone; what each costs.

Three nodes, because a node takes 250 pods. Out: seconds, MiB a pod, CPU milliseconds a pod. Called by ``lab.py``.
"""

from __future__ import annotations

from labs import Api, Cost, cost, pod
from stockade.lab.paths import LabPaths

SIZES = (10, 100, 500)


async def pods_by_number(paths: LabPaths, sizes: tuple[int, ...] = SIZES) -> dict[str, float]:
    found: dict[str, float] = {}
    async with Api(paths.kubeconfig) as api:
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
