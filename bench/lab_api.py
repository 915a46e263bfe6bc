"""Single requests, one after the other: GET of a pod, of a hundred as list and as Table, POST, exec; on a kept connection and on new ones.

TLS as in reality. Out: medians in milliseconds. Called by ``lab.py``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from lab_watch import MAPS
from labs import Api, median_ms, pod
from stockade.lab.paths import LabPaths

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
TIMES = 100
PODS = 100
EXEC = "exec?command=true&container=c&stdout=1&stderr=1"


async def single_requests(paths: LabPaths) -> dict[str, float]:
    found: dict[str, float] = {}
    async with Api(paths.kubeconfig) as api, Api(paths.kubeconfig, keep=False) as anew:
        names = [f"get-{number}" for number in range(PODS)]
        await api.running_after([pod(name) for name in names])
        one = f"{api.base}/{names[0]}"
        number = iter(range(10**6))

        async def write() -> None:
            name = f"single-{next(number)}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
            await api.post(MAPS, body)

        async def execute() -> None:
            async with api.session.ws_connect(f"{one}/{EXEC}", protocols=["v5.channel.k8s.io"]) as socket:
                async for _ in socket:
                    pass

        found["GET ms"] = await _median(lambda: api.get(one))
        found["GET, new connection ms"] = await _median(lambda: anew.get(one))
        found["GET Table ms"] = await _median(lambda: api.get(one, TABLE))
        found[f"list {PODS} ms"] = await _median(lambda: api.get(api.base))
        found[f"list {PODS} Table ms"] = await _median(lambda: api.get(api.base, TABLE), 30)
        found["POST configmap ms"] = await _median(write)
        found["exec ms"] = await _median(execute, 30)
        await api.gone_after(names)
    return found


async def _median(work: Callable[[], Awaitable[object]], times: int = TIMES) -> float:
    samples = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        samples.append(time.perf_counter() - started)
    return median_ms(samples)
