"""Measures the lab: how long a user waits. Medians of many runs on the machine at hand, which is described in the output.

    .venv/bin/python bench/lab.py [--runs 20] [-o text|json]

What is measured, all as the user sees it (wall time):
  up            ``stockade up`` from start to return: nodes Ready, DNS answers; with one node and with three
  pod           POST of a pod to phase Running, seen on a watch
  pods x 100    100 POSTs at once to the last one Running
  deny          ``kubectl apply`` of a deny-all policy returning to the last packet that still arrives (0 when it is cut before)
  memory        resident memory of the lab's own processes (zygote, daemon, agents), idle and with 100 pods; idle with three nodes
Runs of the different measures are interleaved: each round does all of them in a fresh lab.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from rounds import Round, report
from stockade.kube.config import load
from stockade.lab.demo.recipes.deny_egress import DENY_ALL
from stockade.lab.paths import LabPaths
from stockade.lab.processes import of_lab

BIN = Path(sys.executable).parent
PODS = 100
AIMS = {
    "up s": "<= 1.5",
    "up 3 nodes s": "<= 3",
    "pod ms": "<= 100",
    f"{PODS} pods s": "<= 2",
    "deny ms": "<= 50",
}


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
    """The few requests that the measures need, on one connection pool."""

    def __init__(self, kubeconfig: Path) -> None:
        access = load(kubeconfig)
        self.base = access.server + "/api/v1/namespaces/default/pods"
        self.session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {access.token}"},
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cadata=access.ca.decode()), limit=0
            ),
        )

    async def create(self, body: dict) -> None:
        async with self.session.post(self.base, json=body) as answer:
            answer.raise_for_status()

    async def all_running(self, names: set[str]) -> None:
        left = set(names)
        async with self.session.get(self.base, params={"watch": "1"}) as answer:
            async for line in answer.content:
                item = json.loads(line)["object"]
                if item["status"].get("phase") == "Running":
                    left.discard(item["metadata"]["name"])
                if not left:
                    return

    async def running_after(self, bodies: list[dict]) -> float:
        names = {body["metadata"]["name"] for body in bodies}
        watch = asyncio.create_task(self.all_running(names))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await asyncio.gather(*(self.create(body) for body in bodies))
        await asyncio.wait_for(watch, 120)
        return time.perf_counter() - started


def memory(paths: LabPaths) -> float:
    return sum(process.resident for process in of_lab(paths)) / 2**20


async def in_lab(paths: LabPaths, env: dict[str, str]) -> dict[str, float]:
    api = Api(paths.kubeconfig)
    try:
        result = {"idle MiB": memory(paths)}
        result["pod ms"] = 1000 * statistics.median(
            [await api.running_after([pod(f"one-{number}")]) for number in range(5)]
        )
        result["deny ms"] = 1000 * await denied_after(api, env)
        result[f"{PODS} pods s"] = await api.running_after([pod(f"many-{n}") for n in range(PODS)])
        result[f"{PODS} pods MiB"] = memory(paths)
    finally:
        await api.session.close()
    return result


RUN = ("sh", "-c", 'exec "$0" "$@"')


async def denied_after(api: Api, env: dict[str, str]) -> float:
    """Seconds from the return of apply to the last arrival; the receiver prints the time of each packet."""
    python = "/opt/stockade/python/bin/python3"  # what runs the stand-ins' wget
    receive = (
        "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',9000))\n"
        "print('ready',flush=True)\nwhile s.recv(9): print(time.time(),flush=True)"
    )
    await api.running_after([pod("sink", app="sink")])
    address = subprocess.check_output(
        [BIN / "kubectl", "get", "pod", "sink", "-o", "jsonpath={.status.podIP}"], env=env, text=True
    )
    command = [BIN / "kubectl", "exec", "sink", "--", *RUN, python, "-c", receive]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        send = (
            "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            f"s.connect(('{address}',9000))\nfor _ in range(20000):\n s.send(b'x'); time.sleep(0.001)"
        )
        await api.running_after([pod("source", *RUN, python, "-c", send, app="foo")])
        await asyncio.sleep(0.5)
        subprocess.run(
            [BIN / "kubectl", "apply", "-f", "-"],
            env=env,
            input=DENY_ALL,
            text=True,
            check=True,
            capture_output=True,
        )
        applied = time.time()
        await asyncio.sleep(0.5)
        receiver.kill()
        arrivals = [float(line) for line in receiver.communicate()[0].splitlines()]
    assert arrivals, "the stream never arrived"
    return max(0.0, arrivals[-1] - applied)


def one_round(state: str) -> dict[str, float]:
    os.environ["XDG_STATE_HOME"] = state
    with running_lab() as (paths, up):
        env = {**os.environ, "KUBECONFIG": str(paths.kubeconfig)}
        found = {"up s": up, **asyncio.run(in_lab(paths, env))}
    with running_lab("--nodes", "3") as (paths, up):
        resident = sum(process.resident for process in of_lab(paths)) / 2**20
        return {**found, "up 3 nodes s": up, "idle 3 nodes MiB": resident}


@contextlib.contextmanager
def running_lab(*options: str) -> Iterator[tuple[LabPaths, float]]:
    """A fresh lab, and how long ``up`` took."""
    paths = LabPaths.of(f"bench-{uuid.uuid4().hex[:6]}")
    started = time.perf_counter()
    subprocess.run([BIN / "stockade", "up", "--name", paths.name, *options], check=True, capture_output=True)
    took = time.perf_counter() - started
    try:
        yield paths, took
    finally:
        subprocess.run([BIN / "stockade", "down", "--name", paths.name], check=True, capture_output=True)


def measure(runs: int) -> list[Round]:
    with tempfile.TemporaryDirectory() as state:
        return [one_round(state) for _ in range(runs)]


if __name__ == "__main__":
    report(__doc__, 20, measure, AIMS)
