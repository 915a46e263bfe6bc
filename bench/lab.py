"""Measures the lab: how long a user waits, and what it costs. Medians of many runs on the machine at hand, which is described in the output.

    .venv/bin/python bench/lab.py [--runs 5] [-o text|json] [--check]

Each round does everything, in two fresh labs (of one node, and of three), so that the measures are interleaved:
  up            ``stockade up`` from start to return: nodes Ready, DNS answers; with one node and with three
  pod           POST of a pod to phase Running, seen on a watch
  deny          ``kubectl apply`` of a deny-all policy returning to the last packet that still arrives (0 when it is cut before)
  idle          PSS of the lab's own processes (zygote, daemon, agents) before anything was asked of them
  GET …         single requests (lab_api)
  matrix        486 probes as the conformance suites make them, nothing and a third denied (lab_matrix)
  watchers      200 events of 1.5 kB to 1, 10, 100 watchers, and beside three that never read (lab_watch)
  N pods        10, 100, 500 POSTs at once to the last pod Running, on three nodes, and their end (lab_pods)
  replicas      the same 500 by a Deployment with a Service, and how long a GET had to wait meanwhile (lab_pods)
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import time

from lab_api import single_requests
from lab_matrix import matrices
from lab_pods import pods_by_number, replicas
from lab_watch import fan_out
from labs import BIN, Api, cost, pod, running_lab
from rounds import Round, report
from stockade.lab.demo.recipes.deny_egress import DENY_ALL
from stockade.lab.paths import LabPaths

AIMS = {
    "up s": "<= 1.5",
    "up 3 nodes s": "<= 3",
    "pod ms": "<= 100",
    "deny ms": "<= 50",
    "GET ms": "<= 2",
    "matrix s": "<= 10",
    "matrix, a third denied s": "<= 10",
    "100 watchers s": "<= 2",
    "100 pods s": "<= 2",
    "500 pods s": "<= 10",
    "500 pods: our MiB/pod": "<= 1",
}


async def in_lab(paths: LabPaths, env: dict[str, str]) -> Round:
    found = {"idle MiB": cost(paths).ours}
    async with Api(paths.kubeconfig) as api:
        one = [await api.running_after([pod(f"one-{number}")]) for number in range(5)]
        found["pod ms"] = 1000 * statistics.median(one)
        found["deny ms"] = 1000 * await denied_after(api, env)
    found |= await single_requests(paths)
    found |= await matrices(paths.kubeconfig)
    for watchers in (1, 10, 100):
        found |= await fan_out(paths, watchers)
    return found | await fan_out(paths, 100, stuck=3)


async def in_three_nodes(paths: LabPaths) -> Round:
    found = {"idle 3 nodes MiB": cost(paths).ours}
    return found | await pods_by_number(paths) | await replicas(paths)


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


def one_round() -> Round:
    with running_lab() as (paths, up):
        env = {**os.environ, "KUBECONFIG": str(paths.kubeconfig)}
        found = {"up s": up, **asyncio.run(in_lab(paths, env))}
    with running_lab("--nodes", "3") as (paths, up):
        return {**found, "up 3 nodes s": up, **asyncio.run(in_three_nodes(paths))}


def measure(runs: int) -> list[Round]:
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        return [one_round() for _ in range(runs)]


if __name__ == "__main__":
    report(__doc__, 5, measure, AIMS)
