"""Our own client, reflector and agent against our own API server: TLS, token, watch, events, field selectors."""

from __future__ import annotations

import asyncio
import copy

import pytest

from stockade.agent.drop_events import list_rows
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.gate import GateClient
from stockade.agent.node import Doors, NodeAgent, NodeSettings
from stockade.agent.programming import Target
from stockade.dataplane.plane import Dataplane
from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.kube.errors import KubeError
from stockade.kube.resources import EVENTS, PODS
from stockade.kube.snapshot import _read
from stockade.testing.programmer import FakeProgrammer

NODE = {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.0.0/24"}}
POD = {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "nginx"}]},
}
POLICY = {
    "metadata": {"name": "deny"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]},
}


@pytest.fixture
async def client(server):
    async with ApiClient(load(server.kubeconfig, environ={})) as client:
        yield client


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - looks from outside
            await asyncio.sleep(0.005)


async def test_agent_follows_the_server(server, client, tmp_path):
    store = server.store
    store.create("nodes", "", copy.deepcopy(NODE))
    programmer = FakeProgrammer()
    settings = NodeSettings(target=Target(node="node-1"), gate=str(tmp_path / "gate"))
    agent = NodeAgent(settings, client, Doors(dataplane=Dataplane(programmer, generation=1)))
    task = asyncio.create_task(agent.run())
    try:
        await eventually(lambda: programmer.loads)
        assert "10.244.0.0/24" in programmer.loads[0]
        pod = store.create("pods", "default", copy.deepcopy(POD))
        store.mutate(
            "pods",
            "default",
            "web",
            lambda each: each.setdefault("status", {}).update(podIP="10.244.0.5"),
            "status",
        )
        await GateClient(tmp_path / "gate").wait("default", "web", pod["metadata"]["uid"], "10.244.0.5", 10)
        before = len(programmer.loads)
        store.create("networkpolicies.networking.k8s.io", "default", copy.deepcopy(POLICY))
        await eventually(lambda: any("goto e_" in text for text in programmer.loads[before:]))
        store.delete("networkpolicies.networking.k8s.io", "default", "deny")
        await eventually(lambda: any("delete chain" in text for text in programmer.loads[before:]))
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_events_are_stored_counted_and_found_again(server, client):
    recorder = EventRecorder(client, "node-1")
    happened = Occurrence(
        Subject("Pod", "default", "web", "u1"),
        "NetworkPolicyDenied",
        "egress to …",
        annotations=(("stockade.dev/policies", "default/deny"),),
    )
    recorder.record(happened)
    await recorder.flush()
    recorder.record(happened, 4)
    recorder.record(Occurrence(happened.subject, "Other", "m"))
    recorder.record(Occurrence(Subject("Node", "", "node-1", "n"), "NetworkPolicyProgrammingFailed", "m"))
    await recorder.flush()
    (row,) = await list_rows(client, "default")
    assert (row.pod, row.count, row.policies) == ("web", 5, ["default/deny"])
    assert len(server.store.list("events")) == 3


async def test_a_namespace_that_is_gone_is_no_trouble(client):
    recorder = EventRecorder(client, "node-1")
    recorder.record(Occurrence(Subject("Pod", "nowhere", "web", "u1"), "R", "m"))
    await recorder.flush()
    assert await client.list(EVENTS) == []


async def test_snapshot(server, client):
    server.store.create("pods", "default", copy.deepcopy(POD))
    found = await _read(client.access)
    assert {"web", "default", "kube-system"} <= {each.metadata.name for each in found.objects}
    assert found.notes == []


async def test_not_found_in_the_servers_words(client):
    with pytest.raises(KubeError, match='pods "nobody" not found'):
        await client.get(PODS, "default", "nobody")
