"""A world with the controllers running, a node, and a kubelet that starts (and ends) pods at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from stockade.lab.controllers import run_controllers
from stockade.testing.registry import MemoryRegistry

READY_SINCE = "2026-01-01T00:00:00Z"


def node(name="node-1", **spec):
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def deployment(name="web", replicas=3, image="nginx:1", **spec):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def service(name="web", *ports, **spec):
    spec = {"selector": {"app": name}, "ports": list(ports) or [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def pod(name, labels=None, *, ip="", ready=True, ports=(), **spec):
    container = {"name": "c", "image": "busybox", "ports": list(ports)}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if ip:
        status["podIP"] = ip
    metadata = {"name": name, "labels": labels or {"app": "web"}}
    spec = {"nodeName": "node-1", "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _is_new(obj):
    return obj.get("status", {}).get("phase", "Pending") == "Pending"


class World:
    def __init__(self):
        self.registry = MemoryRegistry()
        self.broken_images = set()
        self.kubelet_removes = True
        self._ips = (f"10.244.0.{number}" for number in itertools.count(2))
        for name in ("default", "other"):
            self.add("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, "")

    def add(self, resource, obj, namespace="default"):
        created = self.registry.create(resource, namespace, obj)
        if "status" not in obj:
            return created
        return self.registry.mutate(
            resource, namespace, created["metadata"]["name"], lambda o: o.update(status=obj["status"])
        )

    def all(self, resource, namespace="default"):
        return self.registry.list(resource, namespace)

    def pods(self, namespace="default"):
        return [p for p in self.all("pods", namespace) if "deletionTimestamp" not in p["metadata"]]

    def get(self, resource, name, namespace="default"):
        return self.registry.get(resource, namespace, name)

    def edit(self, resource, name, change, namespace="default"):
        return self.registry.mutate(resource, namespace, name, change)

    def events(self, reason, namespace="default"):
        return [e["message"] for e in self.all("events", namespace) if e["reason"] == reason]

    async def kubelet(self):
        async for change in self.registry.watch("pods"):
            meta = change.object["metadata"]
            place = ("pods", meta["namespace"], meta["name"])
            now = self.registry.find(*place)
            if now is None:
                continue
            if "deletionTimestamp" in now["metadata"]:
                if self.kubelet_removes:
                    self.registry.remove(*place)
            elif now["spec"].get("nodeName") and _is_new(now):
                self.registry.mutate(*place, self._start, "status")

    def _start(self, obj):
        broken = obj["spec"]["containers"][0]["image"] in self.broken_images
        ready = {"type": "Ready", "status": str(not broken), "lastTransitionTime": READY_SINCE}
        conditions = [c for c in obj.get("status", {}).get("conditions", []) if c["type"] != "Ready"]
        obj["status"] = {"phase": "Running", "podIP": next(self._ips), "conditions": [*conditions, ready]}

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)

    async def settle(self):
        """Until nothing has changed for a while: what did not happen by then, will not."""
        count = -1
        while count != len(self.registry.changes):
            count = len(self.registry.changes)
            await asyncio.sleep(0.05)


@pytest.fixture
async def world():
    made = World()
    made.add("nodes", node(), "")
    tasks = [
        asyncio.create_task(run_controllers(made.registry, job_delay=0.01)),
        asyncio.create_task(made.kubelet()),
    ]
    await asyncio.sleep(0)
    yield made
    for task in tasks:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
