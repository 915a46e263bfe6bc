"""ObjectStore: what creating, changing and deleting mean, without HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore


def pod(name="web", **spec):
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec}}


def service(name="web", **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def bind(store, name="web"):
    store.mutate("pods", "default", name, lambda obj: obj["spec"].update(nodeName="node-1"))


def test_create_fills_what_the_server_owns(store):
    given = pod()
    made = store.create("pods", "default", given)
    metadata = made["metadata"]
    assert (made["apiVersion"], made["kind"], metadata["namespace"]) == ("v1", "Pod", "default")
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["serviceAccountName"] == "default"
    assert "uid" not in given["metadata"], "the caller's object is its own"


def test_generate_name_appends_five_characters(store):
    made = store.create("pods", "default", {**pod(), "metadata": {"generateName": "web-"}})
    assert made["metadata"]["name"].startswith("web-")
    assert len(made["metadata"]["name"]) == 9


@pytest.mark.parametrize(
    ("namespace", "obj", "code", "message"),
    [
        ("nowhere", pod(), 404, 'namespaces "nowhere" not found'),
        ("default", pod("Web"), 422, 'Pod "Web" is invalid: metadata.name: Invalid value: "Web": a lowercase'),
        ("default", {**pod(), "metadata": {}}, 422, "metadata.name: Required value: name or generateName is required"),
        ("default", {**pod(), "metadata": {"name": "a", "namespace": "b"}}, 400, "does not match the namespace sent"),
        ("default", {**pod(), "metadata": {"name": "a", "resourceVersion": "1"}}, 400, "resourceVersion should not"),
    ],
)  # fmt: skip
def test_create_refuses(store, namespace, obj, code, message):
    with pytest.raises(ApiError) as caught:
        store.create("pods", namespace, obj)
    assert caught.value.code == code
    assert message in str(caught.value)
    assert store.list("pods") == []


def test_create_twice_is_already_exists(store):
    store.create("pods", "default", pod())
    with pytest.raises(ApiError) as caught:
        store.create("pods", "default", pod())
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")
    assert str(caught.value) == 'pods "web" already exists'


def test_dry_run_stores_nothing(store):
    before = store.revision
    assert store.create("pods", "default", pod(), dry_run=True)["metadata"]["uid"]
    assert store.find("pods", "default", "web") is None
    assert store.revision == before


def test_mutate_without_change_makes_no_version(store):
    made = store.create("pods", "default", pod())
    assert store.mutate("pods", "default", "web", lambda _: None) is made


def test_mutate_status_keeps_everything_else(store):
    store.create("pods", "default", pod())

    def change(obj):
        obj["status"]["phase"] = "Running"
        obj["metadata"]["labels"] = {"a": "b"}

    changed = store.mutate("pods", "default", "web", change, "status")
    assert changed["status"]["phase"] == "Running"
    assert "labels" not in changed["metadata"]
    assert changed["metadata"]["generation"] == 1


def test_replace_keeps_status_identity_and_counts_generations(store):
    policy = {"metadata": {"name": "p"}, "spec": {"podSelector": {}}}
    made = store.create("networkpolicies.networking.k8s.io", "default", policy)
    wanted = {**policy, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}
    changed = store.replace("networkpolicies.networking.k8s.io", "default", "p", wanted)
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["generation"] == 2
    labelled = store.mutate(
        "networkpolicies.networking.k8s.io", "default", "p", lambda o: o["metadata"].update(labels={"x": "y"})
    )
    assert labelled["metadata"]["generation"] == 2


def test_replace_with_a_stale_version_is_a_conflict(store):
    made = store.create("pods", "default", pod())
    bind(store)
    with pytest.raises(ApiError) as caught:
        store.replace("pods", "default", "web", made)
    assert caught.value.reason == "Conflict"
    assert str(caught.value) == (
        'Operation cannot be fulfilled on pods "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_an_unbound_pod_goes_at_once(store):
    store.create("pods", "default", pod())
    store.delete("pods", "default", "web")
    assert store.find("pods", "default", "web") is None


def test_a_bound_pod_terminates_until_it_is_removed(store):
    store.create("pods", "default", pod(terminationGracePeriodSeconds=7))
    bind(store)
    gone = store.delete("pods", "default", "web")
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 7
    assert store.delete("pods", "default", "web", 20)["metadata"]["deletionGracePeriodSeconds"] == 7
    assert store.delete("pods", "default", "web", 2)["metadata"]["deletionGracePeriodSeconds"] == 2
    store.remove("pods", "default", "web", "another uid")
    assert store.find("pods", "default", "web")
    store.remove("pods", "default", "web", gone["metadata"]["uid"])
    assert store.find("pods", "default", "web") is None


def test_force_and_finished_pods_go_at_once(store):
    for name in ("forced", "done"):
        store.create("pods", "default", pod(name))
        bind(store, name)
    store.mutate("pods", "default", "done", lambda obj: obj["status"].update(phase="Succeeded"), "status")
    store.delete("pods", "default", "forced", 0)
    store.delete("pods", "default", "done")
    assert store.list("pods") == []


def test_finalizers_hold_an_object_back(store):
    held = {"metadata": {"name": "c", "finalizers": ["example.com/x"]}}
    store.create("configmaps", "default", held)
    assert store.delete("configmaps", "default", "c")["metadata"]["deletionTimestamp"]
    store.mutate("configmaps", "default", "c", lambda obj: obj["metadata"].pop("finalizers"))
    assert store.find("configmaps", "default", "c") is None


def test_a_terminating_namespace_takes_no_objects(store):
    store.create("namespaces", "", {"metadata": {"name": "x"}})
    ending = store.delete("namespaces", "", "x")
    assert ending["status"]["phase"] == "Terminating"
    stamp = ending["metadata"]["deletionTimestamp"]
    assert store.delete("namespaces", "", "x")["metadata"]["deletionTimestamp"] == stamp
    with pytest.raises(ApiError) as caught:
        store.create("pods", "x", pod())
    assert caught.value.code == 403
    assert str(caught.value).endswith(
        "unable to create new content in namespace x because it is being terminated"
    )
    store.remove("namespaces", "", "x")
    assert store.find("namespaces", "", "x") is None


def test_the_default_namespace_stays(store):
    with pytest.raises(ApiError, match="this namespace may not be deleted"):
        store.delete("namespaces", "", "default")


def test_namespaces_carry_their_name_as_a_label(store):
    made = store.create("namespaces", "", {"metadata": {"name": "x", "labels": {"a": "b"}}})
    assert made["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "x"}
    bare = {"metadata": {"name": "x"}, "spec": made["spec"]}
    assert store.replace("namespaces", "", "x", bare)["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": "x"
    }


def test_services_get_an_address_that_stays(store):
    made = store.create("services", "default", service())
    address = made["spec"]["clusterIP"]
    assert address.split(".")[0] == "10"
    assert made["spec"]["clusterIPs"] == [address]
    kept = store.replace("services", "default", "web", service(selector={"app": "web"}))
    assert kept["spec"]["clusterIP"] == address
    with pytest.raises(ApiError, match="may not change once set"):
        store.replace("services", "default", "web", service(clusterIP="10.96.0.99"))


def test_service_addresses_on_request(store):
    store.create("services", "default", service("kubernetes", clusterIP="10.96.0.1"))
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        store.create("services", "default", service("other", clusterIP="10.96.0.1"))
    with pytest.raises(ApiError, match=r"The range of valid IPs is 10\.96\.0\.0/12"):
        store.create("services", "default", service("other", clusterIP="10.0.0.1"))
    headless = store.create("services", "default", service("headless", clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]


def test_node_ports_are_distinct(store):
    first = store.create("services", "default", service("a", type="NodePort"))["spec"]["ports"][0]["nodePort"]
    second = store.create("services", "default", service("b", type="NodePort"))["spec"]["ports"][0][
        "nodePort"
    ]
    assert {first, second} <= set(range(30000, 32768))
    assert first != second
    kept = store.replace("services", "default", "a", service("a", type="NodePort"))
    assert kept["spec"]["ports"][0]["nodePort"] == first


def test_objects_and_revision_outlive_the_process(tmp_path):
    path = tmp_path / "state.db"
    first = ObjectStore(Storage(path))
    first.create("namespaces", "", {"metadata": {"name": "default"}})
    first.create("pods", "default", pod())
    first.create("pods", "default", pod("gone"))
    first.delete("pods", "default", "gone")
    revision = first.revision
    first.close()
    second = ObjectStore(Storage(path))
    assert second.revision == revision
    assert [obj["metadata"]["name"] for obj in second.list("pods")] == ["web"]
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ApiError, match="too old resource version"):
        second.history("pods").since(revision - 1)


async def collect(changes, count):
    found = []
    async for change in changes:
        found.append((change.type, change.object["metadata"]["name"]))
        if len(found) == count:
            break
    return found


async def test_watch_lists_and_follows(store):
    store.create("namespaces", "", {"metadata": {"name": "other"}})
    store.create("pods", "default", pod("a"))
    task = asyncio.create_task(collect(store.watch("pods", "default"), 4))
    await asyncio.sleep(0)
    store.create("pods", "other", pod("elsewhere"))
    store.create("pods", "default", pod("b"))
    await asyncio.sleep(0.01)
    bind(store, "b")
    store.delete("pods", "default", "a")
    async with asyncio.timeout(5):
        found = await task
    assert found == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]


async def test_a_watcher_that_fell_behind_catches_up(store):
    store.create("configmaps", "default", {"metadata": {"name": "gone"}})
    watch = store.watch("configmaps")
    assert (await anext(watch)).type == "ADDED"
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    store.delete("configmaps", "default", "gone")
    for number in range(2100):  # more than the history keeps
        store.create("configmaps", "default", {"metadata": {"name": f"c{number}"}})
    async with asyncio.timeout(5):
        first = await waiting
        rest = [await anext(watch) for _ in range(2100)]
    assert (first.type, first.object["metadata"]["name"]) == ("DELETED", "gone")
    assert {change.type for change in rest} == {"ADDED"}


def test_events_expire():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    store = ObjectStore(clock=lambda: now)
    store.create("namespaces", "", {"metadata": {"name": "default"}})
    event = {"involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"}}
    for name in ("old", "counted"):
        store.create("events", "default", {"metadata": {"name": name}, **event})
    now += timedelta(minutes=50)
    store.mutate("events", "default", "counted", lambda obj: obj.update(count=2))
    now += timedelta(minutes=20)
    store.create("events", "default", {"metadata": {"name": "new"}, **event})
    assert [obj["metadata"]["name"] for obj in store.list("events")] == ["counted", "new"]


def test_orphans_forget_their_owner(store):
    owner = store.create("configmaps", "default", {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    store.create("configmaps", "default", {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    store.orphan(owner["metadata"]["uid"])
    assert "ownerReferences" not in store.get("configmaps", "default", "owned")["metadata"]


def test_empty_lists_and_maps_of_metadata_are_left_out(store):
    empty = {"labels": {}, "annotations": {}, "finalizers": [], "ownerReferences": []}
    store.create("configmaps", "default", {"metadata": {"name": "made", **empty}})
    store.create("configmaps", "default", {"metadata": {"name": "changed", "labels": {"a": "b"}}})
    store.mutate("configmaps", "default", "changed", lambda obj: obj["metadata"].update(empty))
    for name in ("made", "changed"):
        assert not empty.keys() & store.get("configmaps", "default", name)["metadata"].keys()
