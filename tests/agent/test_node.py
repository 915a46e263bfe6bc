"""The agent as a whole, between a fake Kubernetes API over HTTP and a fake programmer."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from stockade.agent.events import EventRecorder
from stockade.agent.faults import Work
from stockade.agent.gate import GateClient, GateError
from stockade.agent.node import Doors, NodeAgent, NodeSettings
from stockade.agent.programmed import node_view
from stockade.agent.programming import Target
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.lower import Options, lower
from stockade.dataplane.plane import Dataplane
from stockade.kube.backoff import SystemClock
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Namespace, Node, Pod
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.kube_api import ObjectsApi, serving
from stockade.testing.programmer import FakeProgrammer

PODS, NODES, NAMESPACES = "/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces"
SERVICES = "/api/v1/services"
POLICIES, EVENTS = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/events"

NODE = {
    "metadata": {"name": "node-1", "uid": "node-uid"},
    "spec": {"podCIDR": "10.244.0.0/24"},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.1"}]},
}


def pod(name, ip="", *, app="foo", node="node-1", phase="Pending", **status):
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]},
        "status": {"phase": phase, **({"podIP": ip} if ip else {}), **status},
    }


DENY_EGRESS = {
    "metadata": {"name": "foo-deny-egress", "namespace": "default"},
    "spec": {"podSelector": {"matchLabels": {"app": "foo"}}, "policyTypes": ["Egress"], "egress": []},
}


class FastClock(SystemClock):
    """Twenty times as fast: pauses between attempts are not what is tested here."""

    def monotonic(self):
        return super().monotonic() * 20

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 20)


class World:
    def __init__(self, api, agent, programmer, plane, gate):
        self.api, self.agent, self.programmer, self.plane, self.gate = api, agent, programmer, plane, gate

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - looks from outside
                await asyncio.sleep(0.005)

    async def until_programmed(self, count):
        await self.until(lambda: len(self.programmer.loads) >= count)


def basic_api():
    api = ObjectsApi()
    api.put(NAMESPACES, {"metadata": {"name": "default"}})
    api.put(NODES, NODE)
    return api


@asynccontextmanager
async def running(tmp_path, api=None, programmer=None, **settings):
    api, programmer = api or basic_api(), programmer or FakeProgrammer()
    gate = tmp_path / "gate"
    async with serving(api.handle) as client:
        plane = Dataplane(programmer, generation=1)
        agent = NodeAgent(
            NodeSettings(target=Target(node="node-1"), gate=str(gate), **settings),
            client,
            Doors(dataplane=plane),
            recorder=EventRecorder(client, "node-1", interval=0.05),
            clock=FastClock(),
        )
        task = asyncio.create_task(agent.run())
        try:
            yield World(api, agent, programmer, plane, GateClient(gate))
        finally:
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=5)
            assert done


async def test_first_programming_replaces_the_whole_table_with_pods_and_fence(tmp_path):
    api = basic_api()
    api.put(PODS, pod("web", "10.244.0.5"))
    api.put(POLICIES, DENY_EGRESS)
    async with running(tmp_path, api) as world:
        await world.gate.wait("default", "web", "uid-web", "10.244.0.5", 10)
        assert len(world.programmer.loads) == 1
        text = world.programmer.loads[0]
        assert "delete table inet stockade" in text
        assert "10.244.0.5" in text
        assert "10.244.0.0/24" in text  # the fence
        assert not world.agent.health().ready_problem


async def test_nothing_is_programmed_until_everything_is_synced(tmp_path):
    api = basic_api()
    handle = api.handle

    async def without_policies(request):
        if request.path == POLICIES:
            await asyncio.sleep(3600)
        return await handle(request)

    api.handle = without_policies
    async with running(tmp_path, api) as world:
        await world.until(lambda: sum(r.synced.is_set() for r in world.agent._reflectors) == 4)
        await asyncio.sleep(0.1)
        assert world.programmer.loads == []
        assert "networkpolicies" in world.agent.health().ready_problem


async def test_services_only_give_names_so_rules_do_not_wait_for_them(tmp_path):
    api = basic_api()
    handle = api.handle

    async def without_services(request):
        if request.path == SERVICES:
            return web.json_response({"code": 403, "reason": "Forbidden", "message": "no"}, status=403)
        return await handle(request)

    api.handle = without_services
    async with running(tmp_path, api) as world:
        await world.until_programmed(1)
        await world.until(lambda: not world.agent.health().ready_problem)


async def test_the_gate_waits_for_the_address_of_a_new_pod(tmp_path):
    async with running(tmp_path) as world:
        await world.until_programmed(1)
        world.api.put(PODS, pod("web"))
        waiting = asyncio.create_task(world.gate.wait("default", "web", "uid-web", "10.244.0.5", 10))
        await world.until(lambda: world.agent.gate.waiting == 1)
        assert not waiting.done()
        world.api.put(PODS, pod("web", "10.244.0.5"))
        await waiting
        assert "10.244.0.5" in world.programmer.loads[-1]


async def test_the_gate_stays_shut_while_programming_fails_and_the_node_says_why(tmp_path):
    async with running(tmp_path) as world:
        await world.until_programmed(1)
        world.programmer.fail(*["Error: No buffer space available"] * 100)
        world.api.put(PODS, pod("web", "10.244.0.5"))
        with pytest.raises(GateError, match="timed out"):
            await world.gate.wait("default", "web", "uid-web", "10.244.0.5", 0.1)
        await world.until(lambda: world.api.objects[EVENTS])
        told = next(iter(world.api.objects[EVENTS].values()))
        assert told["reason"] == "NetworkPolicyProgrammingFailed"
        assert told["involvedObject"]["kind"] == "Node"
        assert told["involvedObject"]["uid"] == "node-uid"
        assert "No buffer space" in told["message"]
        world.programmer._failures.clear()
        await world.gate.wait("default", "web", "uid-web", "10.244.0.5", 10)  # tried again
        assert world.agent.faults.failures[Work.PROGRAMMING]
        assert not world.agent.faults.current


async def test_a_relevant_change_is_programmed_and_an_irrelevant_one_is_not(tmp_path):
    api = basic_api()
    api.put(PODS, pod("web", "10.244.0.5", phase="Running"))
    async with running(tmp_path, api) as world:
        await world.until_programmed(1)
        counted = world.agent.account.transactions.copy()
        programmed = world.agent.view.programmed
        noisy = pod("web", "10.244.0.5", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
        noisy["metadata"]["annotations"] = {"touched": "yes"}
        seen = world.agent.world.current
        world.api.put(PODS, noisy)
        world.api.put(NODES, {**NODE, "status": {**NODE["status"], "conditions": [{"type": "Ready"}]}})
        await world.until(lambda: not world.agent.world._pending)
        await asyncio.sleep(0.1)
        assert world.agent.world.current is seen
        world.api.put(SERVICES, {"metadata": {"name": "web", "namespace": "default"}})
        await world.until(lambda: world.agent.view.state.services)
        await asyncio.sleep(0.1)
        assert world.agent.view.programmed is programmed
        assert world.agent.account.transactions == counted
        world.api.put(POLICIES, DENY_EGRESS)
        await world.until_programmed(2)
        assert "stockade|e|" in world.programmer.loads[1]


async def test_changes_during_programming_are_gathered(tmp_path):
    class Slow(FakeProgrammer):
        def __init__(self):
            super().__init__()
            self.go = asyncio.Event()
            self.busy = asyncio.Event()

        async def commit(self, batch):
            self.busy.set()
            await self.go.wait()
            await super().commit(batch)

    programmer = Slow()
    async with running(tmp_path, programmer=programmer) as world:
        await programmer.busy.wait()
        for number in range(2, 42):
            world.api.put(PODS, pod(f"p{number}", f"10.244.0.{number}"))
        events = lambda: next(r for r in world.agent._reflectors if r.resource.plural == "pods").stats.events  # noqa: E731
        await world.until(lambda: events() >= 41)
        programmer.go.set()
        await world.gate.wait("default", "p41", "uid-p41", "10.244.0.41", 10)
        assert len(programmer.loads) == 2


async def test_deletes_missed_while_the_api_was_away(tmp_path):
    api = basic_api()
    api.put(PODS, pod("web", "10.244.0.5"))
    async with running(tmp_path, api) as world:
        await world.until_programmed(1)
        api.objects[PODS].clear()  # unseen
        reflector = next(r for r in world.agent._reflectors if r.resource.plural == "pods")
        reflector._version = None  # as after a 410
        api.hang_up()
        await world.until_programmed(2)
        assert "delete element inet stockade id4 { 10.244.0.5 }" in world.programmer.loads[1]


async def test_pods_of_other_nodes_are_no_business_of_the_gate(tmp_path):
    api = basic_api()
    api.put(PODS, pod("web", "10.244.1.5", node="node-2"))
    async with running(tmp_path, api) as world:
        await world.until_programmed(1)
        with pytest.raises(GateError, match="timed out"):
            await world.gate.wait("default", "web", "uid-web", "10.244.1.5", 0.05)


async def test_tampering_is_repaired_and_counted(tmp_path):
    async with running(tmp_path, verify_seconds=0.2) as world:
        await world.until_programmed(1)
        world.programmer.intact = False
        await world.until_programmed(2)
        await world.until(lambda: world.agent.account.repairs == 1)


async def test_an_api_that_is_down_is_waited_for(tmp_path):
    api = basic_api()
    api.down = True
    async with running(tmp_path, api) as world:
        await world.until(lambda: world.agent.world.troubles)
        assert "the server is down" in world.agent.health().ready_problem
        api.down = False
        await world.until_programmed(1)
        await world.until(lambda: not world.agent.world.troubles)


async def test_stopping_leaves_the_rules(tmp_path):
    programmer = FakeProgrammer()
    async with running(tmp_path, programmer=programmer) as world:
        await world.until_programmed(1)
    assert not programmer.deleted
    assert len(programmer.loads) == 1


async def test_a_gate_that_cannot_be_served_ends_the_agent(tmp_path):
    async with serving(basic_api().handle) as client:
        gate = str(tmp_path / "no" / "such" / "directory")
        settings = NodeSettings(target=Target(node="node-1"), gate=gate)
        agent = NodeAgent(settings, client, Doors(dataplane=Dataplane(FakeProgrammer())))
        with pytest.raises(GateError, match="cannot listen"):
            await agent.run()


def fresh_start(api):
    """The ruleset that an agent makes that starts now."""
    kinds = {PODS: Pod, NODES: Node, NAMESPACES: Namespace, POLICIES: NetworkPolicy}
    views = [
        msgspec.convert(each, kind) for path, kind in kinds.items() for each in api.objects[path].values()
    ]
    state = ClusterState.of(views)
    return lower(compile_state(state), node_view(state, "node-1"), Options())


def change_something(api, chance):
    """One write, or one interruption."""
    number = chance.randrange(2, 12)
    name, path = f"p{number}", chance.choice([PODS, PODS, PODS, POLICIES, NAMESPACES, "hang up", "forget"])
    if path == "hang up":
        api.hang_up()
    elif path == "forget":
        api.forget_history()
    elif f"default/{name}" in api.objects[path] and chance.random() < 0.4:
        api.drop(path, name, "default")
    elif path == PODS:
        phase = chance.choice(["Pending", "Running", "Succeeded"])
        node = chance.choice(["node-1", "node-2"])
        api.put(PODS, pod(name, f"10.244.0.{number}", app=chance.choice("ab"), phase=phase, node=node))
    elif path == POLICIES:
        direction = chance.choice(["Ingress", "Egress"])
        peers = {"Ingress": "from", "Egress": "to"}[direction]
        kind, label = chance.choice([("podSelector", "app"), ("namespaceSelector", "team")])
        rules = [{peers: [{kind: {"matchLabels": {label: chance.choice("ab")}}}]}]
        api.put(
            POLICIES,
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "podSelector": {"matchLabels": {"app": chance.choice("ab")}},
                    "policyTypes": [direction],
                    direction.lower(): rules if chance.random() < 0.7 else [],
                },
            },
        )
    else:
        api.put(NAMESPACES, {"metadata": {"name": "default", "labels": {"team": chance.choice("ab")}}})


@pytest.mark.parametrize("seed", range(4))
async def test_any_history_ends_in_the_rules_of_a_fresh_start(tmp_path, seed):
    chance = random.Random(seed)
    async with running(tmp_path) as world:
        await world.until_programmed(1)
        for _ in range(60):
            change_something(world.api, chance)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.choice([0, 0.001, 0.01]))
        wanted = fresh_start(world.api)
        await world.until(lambda: world.plane.applied == wanted)
        assert not any(world.agent.faults.failures.values())


async def test_a_state_that_cannot_be_compiled_does_not_end_the_agent(tmp_path, monkeypatch):
    real, broken = LiveRules.step, [True]

    def step(*arguments):
        if broken.pop() if broken else False:
            raise ZeroDivisionError("a bug")
        return real(*arguments)

    monkeypatch.setattr(LiveRules, "step", step)
    async with running(tmp_path) as world:
        await world.until(lambda: "ZeroDivisionError" in world.agent.health().ready_problem)
        world.api.put(PODS, pod("web", "10.244.0.5"))  # a change is tried at once
        await world.gate.wait("default", "web", "uid-web", "10.244.0.5", 10)
        assert not world.agent.health().ready_problem


async def test_a_namespace_that_gets_a_label_changes_who_is_allowed(tmp_path):
    """Rule 52."""
    api = basic_api()
    api.put(PODS, pod("web", "10.244.0.5"))
    to_team = [{"to": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]
    api.put(POLICIES, {**DENY_EGRESS, "spec": {**DENY_EGRESS["spec"], "egress": to_team}})
    async with running(tmp_path, api) as world:
        await world.until_programmed(1)
        world.api.put(NAMESPACES, {"metadata": {"name": "default", "labels": {"team": "a"}}})
        await world.until_programmed(2)
        assert "add element inet stockade p4_" in world.programmer.loads[1]
