"""A dropped packet is attributed as the engine would, and told once as an Event."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import yaml

from stockade.agent.attribution import View, attribute
from stockade.agent.drop_events import row_of
from stockade.agent.drops import Drops
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.metrics import Counters, ReflectorCounts, render
from stockade.dataplane.droplog import DropRecord
from stockade.kube.backoff import SystemClock
from stockade.kube.errors import KubeError
from stockade.kube.resources import Event
from stockade.model.meta import ObjectRef
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Node, Pod, Service
from stockade.net.cidr import parse_address
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState

CLUSTER = """
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 172.30.0.1}]}
---
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{port: 53, protocol: UDP, targetPort: 53}]
---
kind: Service
metadata: {name: empty, namespace: default}
spec: {clusterIP: 10.96.0.99, selector: {app: nobody}, ports: [{port: 80}]}
---
kind: NetworkPolicy
metadata: {name: foo-deny-egress, namespace: default}
spec:
  podSelector: {matchLabels: {app: foo}}
  policyTypes: [Egress]
  egress: []
---
kind: NetworkPolicy
metadata: {name: web-from-foo, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}], ports: [{port: 80}]}]
"""


KINDS = {kind.__name__: kind for kind in (NetworkPolicy, Node, Service)}


def objects(text):
    return [msgspec.convert(each, KINDS[each["kind"]]) for each in yaml.safe_load_all(text)]


def pod(name, *ips, namespace="default", **labels):
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels},
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]},
        },
        Pod,
    )


@pytest.fixture
def view():
    state = ClusterState.of(
        [
            *objects(CLUSTER),
            pod("foo", "10.244.0.5", "fd00::5", app="foo"),
            pod("web", "10.244.0.6", app="web"),
            pod("kube-dns-x", "10.244.0.2", namespace="kube-system", **{"k8s-app": "kube-dns"}),
        ]
    )
    return seen(state)


def seen(state, compiled=None):
    compiled = compiled or compile_state(state)
    profiles = {p.id: p for e in compiled.pods for p in (e.egress, e.ingress) if p}
    return View(state, compiled, profiles)


def record(source, destination, protocol="UDP", dport=53, direction="Egress", profile="", chain=None):
    (family, source), (_, destination) = parse_address(source), parse_address(destination)
    return DropRecord(
        chain=chain or {"Egress": "e", "Ingress": "i", "": "fence"}[direction],
        direction=direction,
        profile=profile,
        family=family,
        source=source,
        destination=destination,
        protocol=protocol,
        sport=40000,
        dport=dport,
        icmp_type=None,
        time=0.0,
    )


def test_the_recipes_lookup(view):
    found = attribute(view, record("10.244.0.5", "10.244.0.2"))
    assert found.pod == ObjectRef("default", "foo")
    assert found.message == (
        "egress to 10.244.0.2:53/UDP (pod kube-system/kube-dns-x, Service kube-dns) denied: "
        "isolated by NetworkPolicy foo-deny-egress, no rule matches"
    )
    assert dict(found.annotations) == {
        "stockade.dev/direction": "egress",
        "stockade.dev/peer": "10.244.0.2 (pod kube-system/kube-dns-x, Service kube-dns)",
        "stockade.dev/port": "53",
        "stockade.dev/protocol": "UDP",
        "stockade.dev/policies": "default/foo-deny-egress",
    }


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (record("10.244.0.5", "93.184.216.34", "TCP", 80), "egress to 93.184.216.34:80/TCP denied"),
        (record("10.244.0.5", "172.30.0.1", "TCP", 22), "egress to 172.30.0.1:22/TCP (node node-1) denied"),
        (record("10.244.0.5", "8.8.8.8", "ICMP", None), "egress to 8.8.8.8/ICMP denied"),
        (record("fd00::5", "2001:db8::1", "TCP", 80), "egress to [2001:db8::1]:80/TCP denied"),
        (
            record("10.244.0.5", "10.96.0.99", "TCP", 80),
            "egress to 10.96.0.99:80/TCP (Service default/empty, which has no endpoint) denied",
        ),
    ],
    ids=["external", "node", "icmp", "ipv6", "service without endpoint"],
)
def test_peers(view, packet, text):
    assert attribute(view, packet).message.startswith(text)


def test_ingress_names_the_nearest_rule(view):
    found = attribute(view, record("10.244.0.5", "10.244.0.6", "TCP", 80, direction="Ingress"))
    assert found.pod == ObjectRef("default", "web")
    assert found.message.startswith(
        "ingress from 10.244.0.5 (pod default/foo) to port 80/TCP denied: "
        "isolated by NetworkPolicy web-from-foo, no rule matches; nearest is web-from-foo ingress[0]: "
    )
    assert "role=client" in found.message


def test_replies_count_as_the_same_thing(view):
    first = attribute(view, record("10.244.0.5", "10.244.0.2"))
    assert attribute(view, record("10.244.0.5", "10.244.0.2", chain="re")).message == first.message


def test_a_profile_that_was_just_replaced(view):
    before = next(e.egress for e in view.compiled.pods if e.ref.name == "foo")
    opened = ClusterState.of([pod("foo", "10.244.0.5", app="foo")])
    now = View(opened, compile_state(opened), {before.id: before})
    found = attribute(now, record("10.244.0.5", "8.8.8.8", profile=before.id))
    assert found.policies == (ObjectRef("default", "foo-deny-egress"),)
    assert "just been replaced (NetworkPolicy foo-deny-egress)" in found.message


def test_fence(view):
    newer = ClusterState.of([*view.state.pods.values(), pod("late", "10.244.0.9")])
    found = attribute(
        View(newer, view.compiled, view.profiles), record("10.244.0.9", "10.244.0.6", "TCP", 80, "")
    )
    assert found.pod == ObjectRef("default", "late")
    assert found.message == (
        "egress to 10.244.0.6:80/TCP denied: this pod is fenced until its policies are programmed"
    )
    found = attribute(
        View(newer, view.compiled, view.profiles), record("10.244.0.6", "10.244.0.9", "TCP", 80, "")
    )
    assert (found.pod, found.direction, found.peer) == (ObjectRef("default", "late"), "Ingress", "10.244.0.6")


def test_nobody_is_told_of_an_unknown_address(view):
    assert attribute(view, record("10.244.0.77", "10.244.0.78", direction="")) is None
    assert attribute(view, record("10.244.0.77", "10.244.0.78")) is None


class FakeEvents:
    """``fail``: what the next calls raise."""

    def __init__(self):
        self.created, self.patched, self.fail = [], [], []
        self.called = asyncio.Event()

    def _maybe_fail(self):
        self.called.set()
        if self.fail:
            raise self.fail.pop(0)

    async def create(self, resource, namespace, obj):
        self._maybe_fail()
        self.created.append((namespace, obj))
        return obj

    async def patch(self, resource, namespace, name, patch, *, kind="merge", subresource=""):
        self._maybe_fail()
        self.patched.append((name, patch))
        return patch

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                self.called.clear()
                await self.called.wait()
                await asyncio.sleep(0)


@pytest.fixture
def api():
    return FakeEvents()


@pytest.fixture
async def recorder(api):
    recorder = EventRecorder(api, "node-1", interval=0.05)
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.wait({task})


async def test_one_event_then_its_count(view, api, recorder):
    counters = Counters()
    drops = Drops(lambda: None, lambda: view, recorder, counters, SystemClock())
    for _ in range(3):
        drops.take(record("10.244.0.5", "10.244.0.2"))
    await api.until(lambda: api.created)
    namespace, event = api.created[0]
    assert namespace == "default"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "foo",
        "namespace": "default",
        "uid": "uid-foo",
    }
    assert (event["reason"], event["type"], event["count"]) == ("NetworkPolicyDenied", "Warning", 3)
    drops.take(record("10.244.0.5", "10.244.0.2"))
    await api.until(lambda: api.patched)
    assert api.patched[0][0] == event["metadata"]["name"]
    assert api.patched[0][1]["count"] == 4
    assert len(api.created) == 1
    assert counters.drops["egress"] == 4


async def test_what_drops_prints_is_what_was_written(view, api, recorder):
    drops = Drops(lambda: None, lambda: view, recorder, Counters(), SystemClock())
    drops.take(record("10.244.0.5", "10.244.0.2"))
    await api.until(lambda: api.created)
    row = row_of(msgspec.convert(api.created[0][1], Event))
    assert (row.pod, row.direction, row.port, row.protocol) == ("foo", "egress", "53", "UDP")
    assert row.policies == ["default/foo-deny-egress"]
    assert row.count == 1


async def test_an_event_the_server_forgot_is_written_again(api, recorder):
    happened = Occurrence(Subject("Pod", "default", "a", "u"), "R", "m")
    recorder.record(happened)
    await api.until(lambda: api.created)
    api.fail = [KubeError(404, "NotFound", "gone")]
    recorder.record(happened)
    await api.until(lambda: len(api.created) == 2)
    assert api.created[1][1]["count"] == 2


async def test_a_server_that_is_away_gets_it_later_and_nobody_waits(api, recorder):
    api.fail = [KubeError(0, "Unreachable", "refused"), KubeError(503, "", "down")]
    recorder.record(Occurrence(Subject("Pod", "default", "a", "u"), "R", "m"))
    await api.until(lambda: api.created)
    assert not api.fail


async def test_memory_is_bounded(api):
    recorder = EventRecorder(api, "node-1", limit=10)
    for number in range(100):
        recorder.record(Occurrence(Subject("Pod", "default", "a", "u"), "R", f"port {number}"))
    await recorder.flush()
    assert len(api.created) == 10
    assert recorder.forgotten == 90
    assert api.created[-1][1]["message"] == "port 99"


def test_metrics_text():
    counters = Counters()
    counters.drops["egress"] = 5
    text = render(counters, [ReflectorCounts("pods", 1, 2, 30, 0)]).decode()
    assert 'stockade_drops_total{direction="egress"} 5.0' in text
    assert 'stockade_reflector_events_total{resource="pods"} 30.0' in text
