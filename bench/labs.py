"""A fresh lab to measure, a client of its API, and what its processes cost.

In: options of ``stockade up``. Out: ``running_lab``; ``Api``, one TLS session with the admin's token; ``Cost``, memory and CPU time of our own
processes. Called by ``lab.py`` and the measures beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import aiohttp
import msgspec

from stockade.kube.config import load
from stockade.lab.paths import LabPaths
from stockade.lab.processes import PROC, first_process, of_lab

BIN = Path(sys.executable).parent
KERNEL = (
    "SUnreclaim",
    "Percpu",
    "KernelStack",
    "PageTables",
)  # of /proc/meminfo: what the kernel holds for pods
MIB = 2**20


@contextlib.contextmanager
def running_lab(*options: str) -> Iterator[tuple[LabPaths, float]]:
    """A fresh lab, and how long ``up`` took."""
    paths = LabPaths.of(f"bench-{uuid.uuid4().hex[:6]}")
    command = [sys.executable, "-m", "stockade.cli.main"]
    started = time.perf_counter()
    subprocess.run([*command, "up", "--name", paths.name, *options], check=True, capture_output=True)
    took = time.perf_counter() - started
    try:
        yield paths, took
    finally:
        subprocess.run([*command, "down", "--name", paths.name], check=True, capture_output=True)


def pod(name: str, *command: str, app: str = "bench") -> dict:
    container = {"name": "c", "image": "alpine", "command": list(command or ("sleep", "3600"))}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": spec,
    }


class Api:
    """The few requests that the measures need, on one pool of connections. ``connections`` 0: as many as there are requests."""

    def __init__(self, kubeconfig: Path, *, connections: int = 0, keep: bool = True) -> None:
        access = load(kubeconfig)
        self.server = access.server
        self.base = "/api/v1/namespaces/default/pods"
        tls = ssl.create_default_context(cadata=access.ca.decode())
        self.session = aiohttp.ClientSession(
            access.server,
            headers={"Authorization": f"Bearer {access.token}"},
            connector=aiohttp.TCPConnector(ssl=tls, limit=connections, force_close=not keep),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def get(self, path: str, accept: str = "application/json") -> bytes:
        async with self.session.get(path, headers={"Accept": accept}) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def post(self, path: str, body: dict) -> None:
        async with self.session.post(path, json=body) as answer:
            answer.raise_for_status()
            await answer.read()

    async def delete(self, path: str) -> None:
        async with self.session.delete(path) as answer:
            answer.raise_for_status()
            await answer.read()

    async def create(self, body: dict) -> None:
        await self.post(self.base, body)

    async def seen(self, names: set[str], phase: str) -> None:
        """Until a watch told of each pod that it is in ``phase``, or gone ("")."""
        left = set(names)
        async with self.session.get(self.base, params={"watch": "1"}) as answer:
            async for line in answer.content:
                event = msgspec.json.decode(line)
                now = "" if event["type"] == "DELETED" else event["object"]["status"].get("phase")
                if now == phase:
                    left.discard(event["object"]["metadata"]["name"])
                if not left:
                    return

    async def running_after(self, bodies: list[dict]) -> float:
        """Seconds from the first POST (all are sent at once) to the last pod Running."""
        watch = asyncio.create_task(self.seen({body["metadata"]["name"] for body in bodies}, "Running"))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await asyncio.gather(*(self.create(body) for body in bodies))
        await asyncio.wait_for(watch, 300)
        return time.perf_counter() - started

    async def gone_after(self, names: list[str]) -> float:
        """Seconds from the first DELETE to the last DELETED."""
        watch = asyncio.create_task(self.seen(set(names), ""))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await asyncio.gather(*(self.delete(f"{self.base}/{name}") for name in names))
        await asyncio.wait_for(watch, 300)
        return time.perf_counter() - started


class Cost(msgspec.Struct, frozen=True):
    """At one moment. MiB of PSS: ``ours`` (zygote, daemon, agents), ``pods`` (what runs in the containers); ``kernel``: of the whole machine,
    so a difference is worth something on a quiet one only. Seconds of CPU time of the daemon and of the agents."""

    ours: float
    daemon: float
    agents: float
    pods: float
    kernel: float
    daemon_cpu: float
    agents_cpu: float
    zygote_cpu: float


def cost(paths: LabPaths) -> Cost:
    processes = of_lab(paths)
    zygote = next(each.pid for each in processes if each.pid == first_process(paths))
    agents = [each.pid for each in processes if "agent" in each.command[:4]]
    # The first that the zygote started; later ones may just be on their way into a container.
    daemon = min(each.pid for each in processes if each.pid != zygote and each.pid not in agents)
    own = {zygote, daemon, *agents}
    pods = [pid for pid in _descendants(zygote) if pid not in own]
    return Cost(
        ours=sum(map(_pss, own)),
        daemon=_pss(daemon),
        agents=sum(map(_pss, agents)),
        pods=sum(map(_pss, pods)),
        kernel=_kernel(),
        daemon_cpu=_cpu(daemon),
        agents_cpu=sum(map(_cpu, agents)),
        zygote_cpu=_cpu(zygote),
    )


def _descendants(first: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, left = [], [first]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def _pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _cpu(pid: int) -> float:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kernel() -> float:
    found = 0
    for line in (PROC / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found += int(value.split()[0]) if name in KERNEL else 0
    return found / 1024


def median_ms(samples: list[float]) -> float:
    return 1000 * sorted(samples)[len(samples) // 2]
