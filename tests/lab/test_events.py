from __future__ import annotations

from stockade.lab.events import NORMAL, WARNING, EventRecorder
from stockade.testing.registry import MemoryRegistry


def setup(*namespaces):
    registry, times = MemoryRegistry(), iter(f"2026-01-01T00:00:0{second}Z" for second in range(9))
    for name in namespaces:
        registry.create(
            "namespaces", "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    obj = registry.create("pods", "default", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}})
    return registry, obj, EventRecorder(registry, "kubelet", "node-1", lambda: next(times))


def test_an_event_names_its_object():
    registry, pod, recorder = setup()
    recorder.event(pod, NORMAL, "Pulled", "done", "spec.containers{web}")
    [event] = registry.list("events", "default")
    assert event["involvedObject"] == {
        "kind": "Pod",
        "namespace": "default",
        "name": "web",
        "uid": pod["metadata"]["uid"],
        "apiVersion": "v1",
        "resourceVersion": pod["metadata"]["resourceVersion"],
        "fieldPath": "spec.containers{web}",
    }
    assert event["metadata"]["name"].startswith("web.")
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Normal",
        "Pulled",
        "done",
        1,
    )
    assert event["source"] == {"component": "kubelet", "host": "node-1"}


def test_repeats_are_counted_and_others_are_not():
    registry, pod, recorder = setup()
    for message in ("one", "one", "two", "one"):
        recorder.event(pod, WARNING, "Failed", message)
    counts = {
        e["message"]: (e["count"], e["firstTimestamp"][-3:], e["lastTimestamp"][-3:])
        for e in registry.list("events")
    }
    assert counts == {"one": (3, "00Z", "03Z"), "two": (1, "02Z", "02Z")}


def test_a_deleted_event_starts_anew():
    registry, pod, recorder = setup()
    recorder.event(pod, NORMAL, "Pulled", "done")
    registry.remove("events", "default", registry.list("events")[0]["metadata"]["name"])
    recorder.event(pod, NORMAL, "Pulled", "done")
    assert [event["count"] for event in registry.list("events")] == [1]


def test_a_namespace_that_ends_refuses_without_harm():
    registry, pod, recorder = setup("default")
    registry.delete("namespaces", "", "default")
    recorder.event(pod, NORMAL, "Killing", "bye")
    assert registry.list("events") == []


def test_events_of_cluster_scoped_objects_are_in_default():
    registry, _, recorder = setup()
    node = registry.create("nodes", "", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    recorder.event(node, NORMAL, "NodeReady", "up")
    assert [event["metadata"]["namespace"] for event in registry.list("events")] == ["default"]


def test_events_are_listed_in_the_order_they_came():
    registry, pod, _ = setup()
    recorder = EventRecorder(registry, "kubelet")
    for number in range(20):
        recorder.event(pod, NORMAL, f"Reason{number}", "happened")
    listed = sorted(registry.list("events", "default"), key=lambda event: event["metadata"]["name"])
    assert [event["reason"] for event in listed] == [f"Reason{number}" for number in range(20)]
