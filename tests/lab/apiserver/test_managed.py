"""What the cluster's own parts own of an object, and that finding it by comparison is the same as by listing every field."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.lab.apiserver.fieldsets import changes, leaves, parse, plant, tree, uproot
from stockade.lab.apiserver.kinds import Catalogue
from stockade.lab.apiserver.registry import MANAGER
from stockade.lab.apiserver.shapes import shape_of
from stockade.lab.controllers import run_controllers

from .test_apply import DEPLOYMENT, deployment, owners, send

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}


@contextmanager
def part(name):
    before = MANAGER.set(name)
    yield
    MANAGER.reset(before)


def fields(obj):
    return {
        (entry["manager"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", [])
    }


def test_controller_scheduler_and_kubelet(store):
    with part("kube-controller-manager"):
        store.create("pods", "default", POD)
    with part("kube-scheduler"):
        store.mutate("pods", "default", "p", lambda o: o["spec"].update(nodeName="n"), "binding")
    with part("kubelet"):
        store.mutate("pods", "default", "p", lambda o: o["status"].update(phase="Running"), "status")
    ready = {"type": "Ready", "status": "True"}
    with part("kubelet"):
        pod = store.mutate("pods", "default", "p", lambda o: o["status"].update(conditions=[ready]), "status")
    found = fields(pod)
    assert list(found) == [("kube-controller-manager", ""), ("kubelet", "status")]
    made = found["kube-controller-manager", ""]["f:spec"]
    assert "f:image" in made["f:containers"]['k:{"name":"c"}']
    assert "f:nodeName" not in made
    conditions = {'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:type": {}}}
    assert found["kubelet", "status"] == {"f:status": {"f:phase": {}, "f:conditions": conditions}}


def test_what_a_write_takes_away_nobody_owns(store):
    with part("kubelet"):
        store.create("pods", "default", {**POD, "metadata": {"name": "p", "labels": {"a": "1", "b": "1"}}})
    with part("other"):
        store.mutate("pods", "default", "p", lambda o: o["metadata"]["labels"].pop("a"))
        pod = store.mutate("pods", "default", "p", lambda o: o["metadata"]["labels"].update(b="2"))
    found = fields(pod)
    assert "f:metadata" not in found["kubelet", ""]
    assert found["other", ""] == {"f:metadata": {"f:labels": {"f:b": {}}}}


def test_no_part_and_no_entry(store):
    assert fields(store.create("pods", "default", POD)) == {}
    with part("kubelet"):
        event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}}
        assert fields(store.create("events", "default", event)) == {}


def test_a_write_that_fails_or_repeats_edits_nothing_stored(store):
    with part("kubelet"):
        first = store.create("pods", "default", POD)
        again = store.mutate("pods", "default", "p", lambda o: o["status"].update(first["status"]), "status")
        assert again is first
        before = leaves(first, shape_of(store.kinds.of("pods")))
        store.mutate("pods", "default", "p", lambda o: o["status"].update(phase="Failed"), "status")
    assert leaves(first, shape_of(store.kinds.of("pods"))) == before
    assert len(first["metadata"]["managedFields"]) == 1


async def test_an_autoscaler_and_an_applier_conflict(client, store):
    await send(client, DEPLOYMENT, deployment(2, web="nginx:1"), code=201)
    with part("horizontal-pod-autoscaler"):
        store.mutate("deployments.apps", "default", "web", lambda o: o["spec"].update(replicas=5))
    refused = await send(client, DEPLOYMENT, deployment(2, web="nginx:2"), code=409)
    assert 'conflict with "horizontal-pod-autoscaler" using apps/v1: .spec.replicas' in refused["message"]
    left = await send(client, DEPLOYMENT, deployment(web="nginx:2"))
    assert left["spec"]["replicas"] == 5


def _has_rolled_out(store):
    signed = fields(store.get("deployments.apps", "default", "web"))
    return store.list("pods", "default") and ("kube-controller-manager", "status") in signed


async def test_the_controllers_sign(client, store):
    running = asyncio.create_task(run_controllers(store))
    try:
        await send(client, DEPLOYMENT, deployment(1, web="nginx:1"), code=201)
        async with asyncio.timeout(10):
            while not _has_rolled_out(store):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    found = store.get("deployments.apps", "default", "web")
    assert ("me", "Apply", "") in owners(found)
    revision = fields(found)["kube-controller-manager", ""]["f:metadata"]["f:annotations"]
    assert revision == {"f:deployment.kubernetes.io/revision": {}}
    [pod] = store.list("pods", "default")
    assert {manager for manager, _ in fields(pod)} <= {"kube-controller-manager", "kube-scheduler"}


names = st.sampled_from("abc")
texts = st.dictionaries(names, names, max_size=3)
ports = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(1, 3)}, optional={"protocol": st.just("UDP")}),
    max_size=2,
    unique_by=lambda p: (p["containerPort"], p.get("protocol")),
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names}, optional={"image": names, "ports": ports, "command": st.lists(names, max_size=2)}
    ),
    max_size=3,
    unique_by=lambda c: c["name"],
)
pods = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={"labels": texts, "finalizers": st.lists(names, max_size=2, unique=True), "name": names},
        ),
        "spec": st.fixed_dictionaries(
            {}, optional={"containers": containers, "nodeSelector": texts, "hostNetwork": st.booleans()}
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(old=pods, new=pods)
def test_comparing_is_the_same_as_listing(old, new):
    shape = shape_of(Catalogue().of("pods"))
    was, becomes = leaves(old, shape), leaves(new, shape)
    found = changes(old, new, shape)
    assert set(found.removed) == {path for path in was if path not in becomes}
    missing = object()
    assert set(found.changed) == {path for path in becomes if was.get(path, missing) != becomes[path]}
    root = tree(was)
    for path in found.removed:
        uproot(root, path)
    for path in found.changed:
        plant(root, path)
    assert parse(root) == parse(tree(becomes))


@pytest.mark.parametrize(
    ("path", "left"),
    [(("a", "b"), {"a": {"c": {}}}), (("a",), None), (("x",), None), (("a", "b", "d"), None)],
)
def test_a_field_is_taken_out_with_what_it_leaves_empty(path, left):
    root = {"a": {"b": {}, "c": {}}}
    assert uproot(root, path) == (left is not None)
    assert root == (left or {"a": {"b": {}, "c": {}}})
