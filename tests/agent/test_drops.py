"""A dropped packet is attributed as the engine would, and told once as an Event."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import yaml

from stockade.agent import scans
from stockade.agent.addresses import AddressIndex
from stockade.agent.attribution import Attributor, PeerKind, View
from stockade.agent.drop_events import row_of
from stockade.agent.drops import Drops
from stockade.agent.events import EventRecorder, Occurrence, Subject
from stockade.agent.metrics import Counters, ReflectorCounts, render
from stockade.dataplane.droplog import DropLogError, DropRecord
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


def seen(state):
    return View(state, state, profiles_of(state), "node-1")


def profiles_of(state):
    entries = compile_state(state).pods
    return {p.id: p for e in entries for p in (e.egress, e.ingress) if p}


def attribute(view, record):
    return Attributor().attribute(view, record)


def record(source, destination, protocol="UDP", dport=53, direction="Egress", profile="", chain=None, **more):
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
        **({"first": 0.0, "time": 0.0} | more),
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
        "stockade.dev/peer-kind": "pod",
        "stockade.dev/port": "53",
        "stockade.dev/ports": "",
        "stockade.dev/protocol": "UDP",
        "stockade.dev/policies": "default/foo-deny-egress",
        "stockade.dev/nearest": "",
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
    near = dict(found.annotations)["stockade.dev/nearest"]
    assert near.startswith("default/web-from-foo ingress[0]: ")
    assert "role=client" in near


def test_replies_count_as_the_same_thing(view):
    first = attribute(view, record("10.244.0.5", "10.244.0.2"))
    assert attribute(view, record("10.244.0.5", "10.244.0.2", chain="re")).message == first.message


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.244.0.2", PeerKind.POD),
        ("172.30.0.1", PeerKind.NODE),
        ("10.96.0.99", PeerKind.SERVICE),
        ("93.184.216.34", PeerKind.EXTERNAL),
    ],
)
def test_kinds_of_peers(view, address, kind):
    assert attribute(view, record("10.244.0.5", address)).peer.kind is kind


def test_a_profile_that_was_just_replaced(view):
    before = next(e.egress for e in compile_state(view.state).pods if e.ref.name == "foo")
    opened = ClusterState.of([pod("foo", "10.244.0.5", app="foo")])
    now = View(opened, opened, {before.id: before})
    found = attribute(now, record("10.244.0.5", "8.8.8.8", profile=before.id))
    assert found.policies == (ObjectRef("default", "foo-deny-egress"),)
    assert "just been replaced (NetworkPolicy foo-deny-egress)" in found.message


def test_fence(view):
    newer = ClusterState.of([*view.state.pods.values(), pod("late", "10.244.0.9")])
    view = View(newer, view.programmed, view.profiles, "node-1")
    found = attribute(view, record("10.244.0.9", "10.244.0.6", "TCP", 80, ""))
    assert found.pod == ObjectRef("default", "late")
    assert found.message == (
        "egress to 10.244.0.6:80/TCP (pod default/web) denied: "
        "this pod is fenced until its policies are programmed"
    )
    found = attribute(view, record("10.244.0.6", "10.244.0.9", "TCP", 80, ""))
    assert (found.pod, found.direction) == (ObjectRef("default", "late"), "Ingress")
    assert str(found.peer) == "10.244.0.6 (pod default/web)"


def test_the_fence_of_this_node_concerns_its_own_pods_only(view):
    """Also while their rules are on the way to the kernel."""
    packet = record("10.244.0.5", "10.244.0.6", "TCP", 80, "")
    assert attribute(view, packet).pod.name == "foo"
    assert attribute(msgspec.structs.replace(view, node="node-2"), packet) is None


def test_a_scan_of_ports_is_one_thing_whose_number_grows(view):
    some, more = (
        attribute(view, record("10.244.0.5", "8.8.8.8", "TCP", 1000, ports=ports)) for ports in (500, 900)
    )
    assert some.message == (
        "egress to 500 more TCP ports of 8.8.8.8 denied: "
        "isolated by NetworkPolicy foo-deny-egress, no rule matches"
    )
    assert "900 more TCP ports" in more.message
    assert some.topic == more.topic != ""
    notes = dict(some.annotations)
    assert (notes["stockade.dev/ports"], notes["stockade.dev/port"]) == ("500", "")


def test_a_pod_with_two_addresses_of_which_one_is_another_pods():
    """The contested address is the running pod's, so no block that names it lets the other one through."""
    policy = """
kind: NetworkPolicy
metadata: {name: from-block, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{ipBlock: {cidr: 10.244.0.20/32}}]}]
"""
    state = ClusterState.of(
        [
            *objects(policy),
            pod("web", "10.244.0.6", app="web"),
            msgspec.structs.replace(pod("two", "10.244.0.20", "10.244.0.21"), metadata=pod("two").metadata),
            pod("a-owner", "10.244.0.20"),
        ]
    )
    index = AddressIndex()
    index.follow(state)
    part = index.compiled(parse_address("10.244.0.21"), parse_address("10.244.0.6"))
    whole = compile_state(state)
    two = ObjectRef("default", "two")
    assert (
        part.pods[part.by_ref[two]].addresses
        == whole.pods[whole.by_ref[two]].addresses
        == (parse_address("10.244.0.21"),)
    )


def test_nothing_is_compiled_again_for_a_change_elsewhere(view):
    index = AddressIndex()
    ends = parse_address("10.244.0.5"), parse_address("10.244.0.6")
    index.follow(view.state)
    before = index.compiled(*ends)
    others = [*view.state.pods.values(), *view.state.policies.values(), *view.state.nodes.values()]
    index.follow(ClusterState.of([*others, pod("new", "10.244.0.30", namespace="elsewhere")]))
    assert index.compiled(*ends) is before
    index.follow(ClusterState.of([*others, pod("foo", "10.244.0.5", app="bar")]))
    assert index.compiled(*ends) is not before


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


class Notebook:
    """An EventRecorder that remembers."""

    def __init__(self):
        self.told = []

    def record(self, occurrence, count=1):
        self.told.append((occurrence, count))


def test_each_kind_is_attributed_once_and_counted_as_often_as_it_came(view, monkeypatch):
    asked = []
    real = Attributor.attribute
    monkeypatch.setattr(Attributor, "attribute", lambda self, *what: asked.append(what) or real(self, *what))
    notebook, counters = Notebook(), Counters()
    state = [view]
    drops = Drops(lambda: None, lambda: state[0], notebook, counters, SystemClock())
    for sport, time, count in ((1, 0.0, 1), (2, 5.0, 40)):
        packet = record("10.244.0.5", "10.244.0.2", time=time, count=count)
        drops.take(msgspec.structs.replace(packet, sport=sport))
    assert len(asked) == 1
    assert [count for _, count in notebook.told] == [1, 40]
    assert notebook.told[0][0] == notebook.told[1][0]
    assert counters.drops["egress"] == 41
    changed = ClusterState.of(
        [*view.state.pods.values(), *view.state.services.values(), pod("foo", "10.244.0.5", app="foo")]
    )
    state[0] = seen(changed)
    drops.take(record("10.244.0.5", "10.244.0.2"))
    assert len(asked) == 2
    assert "just been replaced" in notebook.told[-1][0].message


def test_a_pod_that_tries_the_whole_world_is_told_as_a_number(view):
    notebook = Notebook()
    drops = Drops(lambda: None, lambda: view, notebook, Counters(), SystemClock())
    for number in range(2000):
        drops.take(record("10.244.0.5", f"198.18.{number >> 8}.{number & 255}", "TCP", 445))
    keys = {occurrence.key for occurrence, _ in notebook.told}
    assert len(keys) == scans.PEERS_TOLD + 1
    last = notebook.told[-1][0]
    assert last.message == (
        "egress to 1000+ more addresses denied: isolated by NetworkPolicy foo-deny-egress, no rule matches"
    )
    assert dict(last.annotations)["stockade.dev/peers"] == "1000"
    drops.take(record("10.244.0.5", "198.18.0.0", "TCP", 445))  # one of those told by themselves
    assert "198.18.0.0:445" in notebook.told[-1][0].message


def test_an_error_in_attribution_does_not_end_reporting(view, monkeypatch):
    monkeypatch.setattr(Attributor, "basis", lambda *_: 1 / 0)
    counters = Counters()
    drops = Drops(lambda: None, lambda: view, Notebook(), counters, SystemClock())
    drops.take(record("10.244.0.5", "10.244.0.2", count=3))
    assert counters.drops_unattributed == 3


async def test_a_log_that_cannot_be_read_is_told(view):
    told = asyncio.Queue()

    def refuse():
        raise DropLogError("NFLOG group 5: another program reads this group")

    drops = Drops(refuse, lambda: view, Notebook(), Counters(), SystemClock(), told.put_nowait)
    task = asyncio.create_task(drops.run())
    async with asyncio.timeout(10):
        assert await told.get() == (
            "denied packets are not reported: NFLOG group 5: another program reads this group"
        )
    task.cancel()
    await asyncio.wait({task})


async def test_the_newest_message_of_a_topic_is_what_the_server_gets(api, recorder):
    def scan(number):
        return Occurrence(
            Subject("Pod", "default", "a", "u"),
            "R",
            f"{number} ports",
            annotations=(("n", str(number)),),
            topic="t",
        )

    recorder.record(scan(1))
    await api.until(lambda: api.created)
    recorder.record(scan(2), 5)
    await api.until(lambda: api.patched)
    assert len(api.created) == 1
    patch = api.patched[-1][1]
    assert (patch["message"], patch["metadata"], patch["count"]) == (
        "2 ports",
        {"annotations": {"n": "2"}},
        6,
    )


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
