"""Pods that start under default-deny while the agent is killed and started again. ``python -m stockade.testing.starts --pods 1000``

A real ``stockade agent`` on a real kernel, a fake API. Every pod is a network namespace whose programs send (UDP, TCP, both families) and are sent to:

- *gated* pods wait for the agent's yes, as kubelets do, and often get the address of a pod that is gone;
- *wild* pods do not: they send from the moment their link is up, before the API has heard of them.

Most are under default-deny; some may talk to the outside (``allowed``), which proves that packets would get there. Outside nothing may ever arrive from a denied
pod, nothing from an allowed one that the API does not know yet, and everything of an allowed one that is programmed: 0 packets
before the fence, 0 after, whatever happens to the agent. Needs root. Exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from stockade.agent.gate import GateClient
from stockade.testing.kube_api import ObjectsApi, serving
from stockade.testing.namespaces import inside, missing, remove_leftovers
from stockade.testing.network import Network
from stockade.testing.senders import OUTSIDE, Counted, Senders, Starting

Json = Any
_PODS, _NODES, _NAMESPACES = "/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces"
_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
_RUN = [sys.executable, "-c", "from stockade.cli.agent import command; command()"]
_AT_ONCE = 20  # pods that live at the same time
_PROGRAMMED_WITHIN = 60.0  # seconds; the agent may be killed many times meanwhile
_REUSED = 24  # addresses that gated pods share


def _policies() -> list[Json]:
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    peers = [{"ipBlock": {"cidr": f"{OUTSIDE[0]}/32"}}, {"ipBlock": {"cidr": f"{OUTSIDE[1]}/128"}}]
    some = {
        "podSelector": {"matchLabels": {"may": "talk"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers}],
        "egress": [{"to": peers}],
    }
    return [
        {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        for name, spec in (("default-deny", deny), ("some-may", some))
    ]


class Totals(msgspec.Struct):
    """``counted`` says what came through; the rest says that the test was one."""

    pods: int = 0
    wild: int = 0
    allowed: int = 0
    kills: int = 0
    slowest: float = 0.0  # seconds from a pod's link to its rules
    counted: Counted = msgspec.field(default_factory=Counted)


class Agent:
    """The process, killed and started again until it is left."""

    def __init__(self, directory: Path, random: Random, arguments: list[str]) -> None:
        self.kills = 0
        self._arguments = arguments
        self.log = directory / "log"
        self._directory = directory
        self._random = random
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["--kubeconfig", str(self._directory / "config"), "--gate", str(self._directory / "gate")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_RUN, "--node", "node-1", *arguments, *self._arguments], stderr=log
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    async def keep_killing(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Sometimes before it has even read the API, sometimes when it has worked for a while: on a slow machine too."""
        while True:
            if self._random.random() < 0.6:
                await ready()
            await asyncio.sleep(self._random.uniform(0.2, 1.5))
            self.kill()
            self.kills += 1
            await asyncio.sleep(self._random.uniform(0.0, 0.5))
            self.start()


class Starts:
    """``run`` in the node's namespace."""

    def __init__(self, network: Network, api: ObjectsApi, directory: Path, random: Random) -> None:
        self.totals = Totals()
        self._network = network
        self._api = api
        self._random = random
        self._gate = GateClient(directory / "gate")
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._free = list(range(2, 2 + _REUSED))
        self._senders = Senders(network)

    async def run(self, count: int) -> None:
        with self._senders:
            async with asyncio.TaskGroup() as group:
                for number in range(1, count + 1):
                    await self._slots.acquire()
                    group.create_task(self._live(number))
            await asyncio.sleep(0.1)  # what is on its way
        self.totals.counted = self._senders.counted

    async def _live(self, number: int) -> None:
        try:
            random = self._random
            wild = random.random() < 0.5
            allowed = random.random() < 0.3
            # A wild pod has an address that nobody had: it would not wait until its predecessor's rules are gone.
            host = 1000 + number if wild or not self._free else self._free.pop(0)
            pod = Starting(number, allowed=allowed, host=host)
            began = time.monotonic()
            await asyncio.to_thread(self._wire, pod)
            if wild:
                self._senders.start(pod)
                await asyncio.sleep(random.uniform(0.0, 0.2))
            pod.known = True
            self._api.put(_PODS, _object(pod))
            await self._gate.wait("default", pod.name, pod.uid, pod.addresses[0], _PROGRAMMED_WITHIN)
            pod.programmed = True
            self.totals.slowest = max(self.totals.slowest, time.monotonic() - began)
            if not wild:
                self._senders.start(pod)
            await asyncio.sleep(random.uniform(0.1, 0.6))
            self._senders.stop(pod)
            await self._end(pod)
            self.totals.pods += 1
            self.totals.wild += wild
            self.totals.allowed += allowed
        finally:
            self._slots.release()

    def _wire(self, pod: Starting) -> None:
        """In a thread; it is in the node's namespace, as the thread that started it."""
        self._network.add_pod(pod.name, *pod.addresses)
        self._senders.equip(pod)

    async def _end(self, pod: Starting) -> None:
        await asyncio.sleep(0.05)  # its last packets
        self._senders.forget(pod)
        self._api.drop(_PODS, pod.name, "default")
        await asyncio.to_thread(self._network.remove_pod, pod.name)
        if pod.host < 1000:
            self._free.append(pod.host)


def _object(pod: Starting) -> Json:
    return {
        "metadata": {
            "name": pod.name,
            "namespace": "default",
            "uid": pod.uid,
            "labels": {"may": "talk" if pod.allowed else "not"},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": text} for text in pod.addresses]},
    }


@contextlib.asynccontextmanager
async def _api(directory: Path) -> AsyncIterator[ObjectsApi]:
    api = ObjectsApi()
    api.put(_NAMESPACES, {"metadata": {"name": "default"}})
    cidrs = ["10.244.0.0/16", "fd44::/64"]
    api.put(_NODES, {"metadata": {"name": "node-1"}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}})
    for policy in _policies():
        api.put(_POLICIES, policy)
    async with serving(api.handle) as client:
        config = {
            "current-context": "t",
            "contexts": [{"name": "t", "context": {"cluster": "t"}}],
            "clusters": [{"name": "t", "cluster": {"server": client.access.server}}],
        }
        (directory / "config").write_text(json.dumps(config))
        yield api


async def _run(network: Network, count: int, random: Random, directory: Path, arguments: list[str]) -> Totals:
    async with _api(directory) as api:
        agent, starts = Agent(directory, random, arguments), Starts(network, api, directory, random)
        agent.start()
        try:
            first = Starting(0, allowed=False, host=1)
            api.put(_PODS, _object(first))  # the node works before the first pod comes
            ready = partial(
                GateClient(directory / "gate").wait,
                *("default", first.name, first.uid, first.addresses[0], _PROGRAMMED_WITHIN),
            )
            await ready()
            killing = asyncio.create_task(agent.keep_killing(ready))
            try:
                await starts.run(count)
            finally:
                killing.cancel()
        finally:
            agent.kill()
        starts.totals.kills = agent.kills
        return starts.totals


def run(count: int, *, luck: int = 0, arguments: Iterable[str] = ()) -> Totals:
    """So many pods, one after the other and some at a time. ``arguments``: more of them for the agent."""
    remove_leftovers()
    network = Network()
    try:
        network.start()
        network.add_pod("outside", *OUTSIDE)
        with tempfile.TemporaryDirectory() as directory, inside(network.node):
            return asyncio.run(_run(network, count, Random(luck), Path(directory), [*arguments]))  # noqa: S311 - no secret
    finally:
        network.stop()


def lines(totals: Totals) -> list[str]:
    counted = totals.counted
    return [
        f"{totals.pods} pods ({totals.wild} did not wait for the gate, {totals.allowed} may talk) while the agent was killed {totals.kills} times",
        f"{counted.denied} packets of denied pods and {counted.early} of pods unknown to the API: {counted.leaked} got through",
        f"{counted.due} of allowed pods after their programming: {counted.lost} lost",
        f"slowest from link to rules: {totals.slowest:.1f} s",
        *sorted(counted.leaks)[:10],
        *sorted(counted.missing.values())[:10],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--luck", type=int, default=secrets.randbelow(1000), help="seed")
    options = parser.parse_args()
    if lacking := missing():
        parser.error(f"needs {lacking}")
    started = time.monotonic()
    totals = run(options.pods, luck=options.luck)
    said = [*lines(totals), f"seed {options.luck}, {time.monotonic() - started:.0f} s"]
    sys.stdout.write("\n".join(said) + "\n")
    return 1 if totals.counted.leaked or totals.counted.lost else 0


if __name__ == "__main__":
    sys.exit(main())
