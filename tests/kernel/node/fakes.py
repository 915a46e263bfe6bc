# ruff: noqa: A002, ASYNC109, ASYNC110
# Signatures are those of the real parts.
"""A node without the rest of the lab: a registry in a dictionary, networks with nothing but loopback, an agent that says yes."""

from __future__ import annotations

import asyncio
import copy
import fcntl
import os
import socket
import struct
import threading
from pathlib import Path

from stockade.lab.apiserver.registry import ApiError, Change
from stockade.lab.images.catalog import Catalog
from stockade.lab.node import syscalls
from stockade.lab.node.kubelet import Kubelet
from stockade.lab.node.parts import NodeFacts
from stockade.lab.node.processes import NodeProcesses
from stockade.lab.node.runtime import LogOptions, StreamOptions
from stockade.lab.node.spawner import Spawner


class FakeRegistry:
    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], dict] = {}
        self.queue: asyncio.Queue[Change] = asyncio.Queue()
        self.version = 0

    def add(self, pod: dict) -> None:
        self.pods[pod["metadata"]["namespace"], pod["metadata"]["name"]] = pod
        self._tell("ADDED", pod)

    def _tell(self, kind: str, pod: dict) -> None:
        self.queue.put_nowait(Change(kind, copy.deepcopy(pod)))

    def mutate(self, resource, namespace, name, change, subresource=""):
        pod = self.pods.get((namespace, name))
        if pod is None:
            raise ApiError({"code": 404, "reason": "NotFound", "message": name})
        fresh = copy.deepcopy(pod)
        change(fresh)
        self.pods[namespace, name] = fresh
        self._tell("MODIFIED", fresh)
        return fresh

    def delete(self, namespace: str, name: str, grace: int = 30) -> None:
        def mark(pod: dict) -> None:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            pod["metadata"]["deletionGracePeriodSeconds"] = grace

        self.mutate("pods", namespace, name, mark)

    def remove(self, resource, namespace, name, uid=""):
        pod = self.pods.pop((namespace, name), None)
        if pod is not None:
            self._tell("DELETED", pod)

    def find(self, resource, namespace, name):
        return None

    def list(self, resource, namespace=""):
        return [copy.deepcopy(pod) for pod in self.pods.values()] if resource == "pods" else []

    async def watch(self, resource, namespace=""):
        while True:
            yield await (self.queue if resource == "pods" else asyncio.Queue()).get()


class LoopbackNetns:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.address = addresses[0]
        self.fd = -1
        worker = threading.Thread(target=self._make)
        worker.start()
        worker.join()

    def _make(self) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with socket.socket() as control:
            fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class FakeNetwork:
    def __init__(self) -> None:
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def create(self, name: str, *addresses: str) -> LoopbackNetns:
        return LoopbackNetns(*addresses)


class FakeGate:
    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.asked: list[tuple[str, str]] = []

    async def wait(self, namespace, name, uid, address, timeout):
        self.asked.append((name, address))
        try:
            async with asyncio.timeout(timeout):
                await self.is_open.wait()
        except TimeoutError:
            raise RuntimeError("the agent does not answer") from None


class FakeEvents:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []

    def event(self, obj, type, reason, message, field_path=""):
        self.seen.append((obj["metadata"]["name"], type, reason, message))

    def reasons(self, name: str) -> list[str]:
        return [reason for pod, _, reason, _ in self.seen if pod == name]


class Lab:
    def __init__(self, channel: socket.socket, directory: Path) -> None:
        self.directory = directory
        self.registry = FakeRegistry()
        self.spawner = Spawner(channel)
        self.images = Catalog(directory)
        self.events = FakeEvents()
        self.gate = FakeGate()
        self.feeds: dict = {}
        self._uids = 0
        facts = NodeFacts(
            name="node-1",
            addresses=("172.30.0.1",),
            cluster_dns="10.96.0.10",
            directory=directory / "run",
            gate_timeout=0.3,
            retry_seconds=0.1,
        )
        self.kubelet = Kubelet(
            self.registry,
            NodeProcesses(self.spawner),
            FakeNetwork(),
            self.images,
            self.events,
            self.gate,
            None,  # no pod here has a token
            facts=facts,
            pod_cidrs=("10.244.0.0/24",),
            feeds=self.feeds,
        )
        self.runtime = self.kubelet.runtime

    async def start(self) -> None:
        self.spawner.start()
        await self.kubelet.start()

    def pod(
        self, name: str, *argv: str, image: str = "alpine", policy: str = "Always", spec=None, **container
    ) -> str:
        self._uids += 1
        uid = f"uid-{self._uids}"
        entry = {"name": name, "image": image, **container}
        if argv:
            entry["command"] = list(argv)
        self.registry.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": "default", "name": name, "uid": uid},
                "spec": {
                    "nodeName": "node-1",
                    "restartPolicy": policy,
                    "containers": [entry],
                    **(spec or {}),
                },
                "status": {"phase": "Pending"},
            }
        )
        return uid

    def status(self, name: str) -> dict:
        return self.registry.pods["default", name]["status"]

    def state(self, name: str) -> dict:
        return (self.status(name).get("containerStatuses") or [{"state": {}}])[0]["state"]

    async def until(self, condition) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def running(self, name: str) -> None:
        await self.until(lambda: "running" in self.state(name))

    async def finished(self, name: str) -> None:
        await self.until(lambda: self.status(name)["phase"] in {"Succeeded", "Failed"})

    async def logs(self, uid: str, name: str, **options) -> str:
        return b"".join(
            [piece async for piece in self.runtime.logs(uid, name, LogOptions(**options))]
        ).decode()

    async def sh(self, uid: str, name: str, script: str) -> tuple[int, str, str]:
        session = await self.runtime.exec(uid, name, ["sh", "-c", script], StreamOptions())
        out, err = await asyncio.gather(session.stdout.read(), session.stderr.read())
        return await session.wait(), out.decode(), err.decode()
