"""``stockade agent`` as a process between a fake API and a real kernel, and datagrams that tell what the kernel lets through.

In: a network of namespaces (the kernel tests' ``network``), a directory. Out: things to do to the cluster and to look at. The test itself runs
in the node's namespace, and so do the processes it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from stockade.agent.gate import GateClient
from stockade.agent.health import ask
from stockade.agent.status import AgentStatus
from stockade.testing.kube_api import JsonObject, ObjectsApi, serving

PODS, NODES, NAMESPACES = "/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces"
POLICIES, EVENTS = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/events"
RUN = [sys.executable, "-c", "from stockade.cli.agent import command; command()"]
FOO, WEB = "10.244.0.5", "10.244.0.6"
PORT, SECRET = 9999, 7777


class Namespaces(Protocol):
    """What is used of the network."""

    def add_pod(self, name: str, address: str, address6: str = "") -> None: ...

    def open(self, where: str, kind: int = ..., family: int = ..., protocol: int = 0) -> socket.socket: ...

    def listen(self, where: str, port: int, kind: int = ...) -> socket.socket: ...


def pod(name: str, ip: str, uid: str = "") -> JsonObject:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid or f"uid-{name}",
            "labels": {"app": name},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": ip},
    }


def egress(name: str, *ports: tuple[str, int]) -> JsonObject:
    """Pod foo may send to these ports of anybody, and to nobody when there are none."""
    rules = [{"ports": [{"protocol": protocol, "port": port} for protocol, port in ports]}] if ports else []
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "foo"}},
            "policyTypes": ["Egress"],
            "egress": rules,
        },
    }


class AgentSetting:
    """Pods foo and web are there from the start; ``api`` is the cluster."""

    def __init__(self, network: Namespaces, api: ObjectsApi, directory: Path) -> None:
        self.network, self.api, self.directory = network, api, directory
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(
                [
                    *RUN,
                    *("--kubeconfig", str(self.directory / "config"), "--node", "node-1"),
                    *("--gate", str(self.directory / "gate"), "--health", str(self.directory / "health")),
                    *arguments,
                ],
                stderr=log,
                text=True,
                env={**os.environ, **(env or {})},
            )
        self._processes.append(process)
        return process

    async def end(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, 20)

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    async def programmed(self, name: str, address: str, seconds: float = 30, uid: str = "") -> None:
        await GateClient(self.directory / "gate").wait(
            "default", name, uid or f"uid-{name}", address, seconds
        )

    async def status(self) -> AgentStatus:
        found = await ask(str(self.directory / "health"), 20)
        assert found is not None, (self.directory / "log").read_text()
        return found

    async def page(self, path: str) -> tuple[int, str]:
        connector = aiohttp.UnixConnector(str(self.directory / "health"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://agent{path}") as answer,
        ):
            return answer.status, await answer.text()

    def events(self, reason: str) -> list[JsonObject]:
        return [event for event in self.api.objects[EVENTS].values() if event["reason"] == reason]

    async def until(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - looks from outside
                await asyncio.sleep(0.01)

    async def until_status(self, condition: Callable[[AgentStatus], Any], seconds: float = 30) -> AgentStatus:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.status()
                if condition(found):
                    return found
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def setting(network: Namespaces, directory: Path) -> AsyncIterator[AgentSetting]:
    network.add_pod("foo", FOO)
    network.add_pod("web", WEB)
    api = ObjectsApi()
    api.put(NAMESPACES, {"metadata": {"name": "default"}})
    api.put(NODES, {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.0.0/24"}})
    api.put(PODS, pod("foo", FOO))
    api.put(PODS, pod("web", WEB))
    async with serving(api.handle) as client:
        config = {
            "current-context": "t",
            "contexts": [{"name": "t", "context": {"cluster": "t"}}],
            "clusters": [{"name": "t", "cluster": {"server": client.access.server}}],
        }
        (directory / "config").write_text(json.dumps(config))
        made = AgentSetting(network, api, directory)
        try:
            yield made
        finally:
            made.stop()


class Stream:
    """UDP datagrams from foo to web, to an allowed and to a denied port, counted where they arrive."""

    def __init__(self, network: Namespaces, sender: str = "foo") -> None:
        self._sender = network.open(sender)
        self._receivers = {port: network.listen("web", port, socket.SOCK_DGRAM) for port in (PORT, SECRET)}
        for each in self._receivers.values():
            each.setblocking(False)
        self._arrived = dict.fromkeys(self._receivers, 0)
        self.sent = 0

    def send(self) -> None:
        self.sent += 1
        for port in self._receivers:
            self._sender.sendto(b"x", (WEB, port))

    def received(self, port: int) -> int:
        """So far; to be asked often, for a socket holds 256 datagrams."""
        with contextlib.suppress(BlockingIOError):
            while self._receivers[port].recv(64):
                self._arrived[port] += 1
        return self._arrived[port]

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send()
            for port in self._receivers:
                self.received(port)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All the while."""
        task = asyncio.create_task(self.run(3600))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await asyncio.sleep(0.05)
