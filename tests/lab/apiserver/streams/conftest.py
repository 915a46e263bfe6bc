from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp import web

from stockade.lab.apiserver.streams import add_stream_routes
from stockade.testing.registry import MemoryRegistry
from stockade.testing.runtime import LocalRuntime

KUBECTL = Path(sys.executable).parent / "kubectl"


def pod(name, *containers, running=(), **more):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **more},
        "spec": {"nodeName": "node-1", "containers": [{"name": c, "image": "busybox"} for c in containers]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": c, "state": {"running": {}}} for c in running],
        },
    }


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.02)


class Cluster:
    """A registry of a few pods, processes in place of containers, and the address of the endpoints over them."""

    def __init__(self):
        self.registry = MemoryRegistry()
        self.runtime = LocalRuntime()
        self.url = ""

    async def start(self):
        app = web.Application()
        add_stream_routes(app, self.registry, self.runtime)
        app.router.add_get("/{path:.*}", self._get)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def add(self, obj, *argv, stdin=False, tty=False):
        created = self.registry.create("pods", "default", obj)
        for status in created["status"]["containerStatuses"]:
            await self.runtime.start(
                created["metadata"]["uid"], status["name"], [*argv], stdin=stdin, tty=tty
            )
        return created

    async def shut_down(self):
        await self._runner.cleanup()

    async def stop(self):
        await self.runtime.stop()
        await self.shut_down()

    async def _get(self, request):
        """As much of an API server as ``kubectl exec`` asks for."""
        verbs = {"namespaced": True, "verbs": ["get", "list", "watch"]}
        answers = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {
                "kind": "APIResourceList",
                "groupVersion": "v1",
                "resources": [{"name": "pods", "kind": "Pod", **verbs}],
            },
        }
        if request.path in answers:
            return web.json_response(answers[request.path])
        found = self.registry.find("pods", "default", request.path.rpartition("/")[2])
        missing = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "code": 404,
        }
        return web.json_response(found or missing, status=200 if found else 404)


@pytest.fixture
async def cluster():
    made = Cluster()
    await made.start()
    yield made
    await made.stop()
