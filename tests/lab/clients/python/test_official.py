"""The official Python client (package ``kubernetes``): what its users do, against a lab."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("kubernetes")
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def api(client_lab) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(client_lab.kubeconfig) as connection:
        yield connection


@pytest.fixture(scope="module")
def core(api) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"made": "here"}), data=data)


def failure(call: Callable[[], object]) -> tuple[int, dict]:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value.status, json.loads(caught.value.body)


def eventually(question: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_token_and_certificate(client_lab, core):
    assert "kube-system" in {each.metadata.name for each in core.list_namespace().items}
    with config.new_client_from_config(client_lab.certificate) as connection:
        assert client.CoreV1Api(connection).read_namespace("default").status.phase == "Active"
        review = client.AuthenticationV1Api(connection).create_self_subject_review(
            client.V1SelfSubjectReview()
        )
    assert "admin" in review.status.user_info.username


def test_discovery_of_versions(api):
    assert int(client.VersionApi(api).get_code().minor) >= 33
    assert client.CoreApi(api).get_api_versions().versions == ["v1"]
    groups = {each.name for each in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "batch", "networking.k8s.io"} <= groups
    resources = {each.name for each in client.AppsV1Api(api).get_api_resources().resources}
    assert {"deployments", "deployments/scale", "deployments/status"} <= resources


def test_create_read_replace_patch_delete(core, space):
    made = core.create_namespaced_config_map(space, config_map("one", a="1"))
    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("one", space, made)
    assert replaced.data == {"a": "1", "b": "2"}
    code, body = failure(lambda: core.replace_namespaced_config_map("one", space, made))
    assert (code, body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in body["message"]
    patched = core.patch_namespaced_config_map("one", space, {"data": {"a": None, "c": "3"}})
    assert patched.data == {"b": "2", "c": "3"}
    gone = core.delete_namespaced_config_map("one", space)
    assert (gone["status"], gone["details"]["name"], gone["details"]["kind"]) == (
        "Success",
        "one",
        "configmaps",
    )
    code, body = failure(lambda: core.read_namespaced_config_map("one", space))
    assert (code, body["reason"], body["message"]) == (404, "NotFound", 'configmaps "one" not found')
    assert body["details"] == {"name": "one", "kind": "configmaps"}


def test_every_kind_of_patch(core, space):
    core.create_namespaced_config_map(space, config_map("p", a="1"))
    steps = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    assert core.patch_namespaced_config_map("p", space, steps).data == {"a": "1", "b": "2"}
    for kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        found = core.patch_namespaced_config_map("p", space, {"data": {"a": kind}}, _content_type=kind)
        assert found.data == {"a": kind, "b": "2"}
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "mine"}}
    how = {"field_manager": "tests", "_content_type": "application/apply-patch+yaml"}
    code, body = failure(lambda: core.patch_namespaced_config_map("p", space, applied, **how))
    assert code == 409
    assert body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    found = core.patch_namespaced_config_map("p", space, applied, force=True, **how)
    assert found.data["a"] == "mine"
    assert "tests" in {each.manager for each in found.metadata.managed_fields if each.operation == "Apply"}
    code, body = failure(
        lambda: core.patch_namespaced_config_map(
            "p", space, [{"op": "test", "path": "/data/a", "value": "9"}]
        )
    )
    assert (code, body["reason"]) == (422, "Invalid")


def test_strategic_merge_of_containers(api, space, pod_manifest):
    apps = client.AppsV1Api(api)
    pod = pod_manifest("web")
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": pod["metadata"], "spec": {"containers": pod["spec"]["containers"]}},
        },
    }
    apps.create_namespaced_deployment(space, deployment)
    sidecar = {"name": "side", "image": "busybox"}
    change = {"spec": {"template": {"spec": {"containers": [sidecar]}}}}
    found = apps.patch_namespaced_deployment("web", space, change)
    assert {each.name for each in found.spec.template.spec.containers} == {"main", "side"}
    code, body = failure(lambda: apps.create_namespaced_deployment(space, deployment))
    assert (code, body["reason"]) == (409, "AlreadyExists")
    assert body["message"] == 'deployments.apps "web" already exists'
    assert body["details"] == {"name": "web", "group": "apps", "kind": "deployments"}


def test_invalid_object(core, space):
    wrong = client.V1Pod(
        metadata=client.V1ObjectMeta(name="Wrong_Name"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="a", image="busybox")]),
    )
    code, body = failure(lambda: core.create_namespaced_pod(space, wrong))
    assert (code, body["reason"]) == (422, "Invalid")
    assert body["details"]["causes"][0]["field"] == "metadata.name"
    assert body["details"]["name"] == "Wrong_Name"
    code, body = failure(lambda: core.create_namespaced_config_map("nowhere", config_map("x")))
    assert (code, body["message"]) == (404, 'namespaces "nowhere" not found')


def test_dry_run(core, space):
    core.create_namespaced_config_map(space, config_map("dry"), dry_run="All")
    assert failure(lambda: core.read_namespaced_config_map("dry", space))[0] == 404


def test_selectors_and_pages(core, space):
    for number in range(7):
        core.create_namespaced_config_map(space, config_map(f"c{number}"))
    core.patch_namespaced_config_map("c3", space, {"metadata": {"labels": {"made": "there"}}})

    def names(**how: str) -> list[str]:
        return [each.metadata.name for each in core.list_namespaced_config_map(space, **how).items]

    assert names(label_selector="made=there") == ["c3"]
    assert names(label_selector="made notin (there),made") == ["c0", "c1", "c2", "c4", "c5", "c6"]
    assert names(field_selector="metadata.name=c5") == ["c5"]
    found, token, rests = [], None, []
    while token != "":
        page = core.list_namespaced_config_map(space, label_selector="made", limit=3, _continue=token)
        found += [each.metadata.name for each in page.items]
        token = page.metadata._continue or ""
        rests.append(page.metadata.remaining_item_count)
    assert found == [f"c{number}" for number in range(7)]
    assert rests[-1] is None
    code, body = failure(lambda: core.list_namespaced_config_map(space, field_selector="data.a=1"))
    assert code == 400
    assert (
        body["message"]
        == '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
    core.delete_collection_namespaced_config_map(space, label_selector="made=here")
    assert names(label_selector="made") == ["c3"]


def test_watch_starts_goes_on_and_ends(core, space):
    first = core.create_namespaced_config_map(space, config_map("w1"))
    seen = []
    watching = watch.Watch()
    for event in watching.stream(
        core.list_namespaced_config_map, space, label_selector="made", timeout_seconds=20
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 1:
            core.patch_namespaced_config_map("w1", space, {"data": {"x": "1"}})
        elif len(seen) == 2:
            core.delete_namespaced_config_map("w1", space)
        else:
            watching.stop()
    assert seen == [("ADDED", "w1"), ("MODIFIED", "w1"), ("DELETED", "w1")]
    again = watch.Watch().stream(
        core.list_namespaced_config_map,
        space,
        resource_version=first.metadata.resource_version,
        timeout_seconds=1,
    )
    assert [event["type"] for event in again] == ["MODIFIED", "DELETED"]


def test_watch_with_a_version_that_is_gone(core, space):
    old = watch.Watch().stream(
        core.list_namespaced_config_map, space, resource_version="99999999", timeout_seconds=5
    )
    with pytest.raises(ApiException) as caught:
        next(old)
    assert caught.value.status == 410
    assert "Expired: too old resource version" in str(caught.value)  # a client then lists again


def test_watch_leaves_a_selector(core, space):
    core.create_namespaced_config_map(space, config_map("s1"))
    seen = []
    watching = watch.Watch()
    for event in watching.stream(
        core.list_namespaced_config_map, space, label_selector="made=here", timeout_seconds=20
    ):
        seen.append(event["type"])
        if len(seen) == 1:
            core.patch_namespaced_config_map("s1", space, {"metadata": {"labels": {"made": "elsewhere"}}})
        else:
            watching.stop()
    assert seen == ["ADDED", "DELETED"]


def test_subresources_of_a_deployment(api, space, pod_manifest):
    apps = client.AppsV1Api(api)
    pod = pod_manifest("d")
    body = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": pod["spec"]},
        },
    }
    apps.create_namespaced_deployment(space, body)
    scale = apps.read_namespaced_deployment_scale("d", space)
    assert (scale.spec.replicas, scale.status.selector) == (1, "app=d")
    scale.spec.replicas = 2
    scale.metadata.resource_version = None  # whatever the controllers wrote meanwhile
    apps.replace_namespaced_deployment_scale("d", space, scale)
    assert apps.patch_namespaced_deployment_scale("d", space, {"spec": {"replicas": 2}}).spec.replicas == 2
    eventually(lambda: apps.read_namespaced_deployment_status("d", space).status.ready_replicas == 2)
    found = apps.read_namespaced_deployment("d", space)
    assert {each.type: each.status for each in found.status.conditions}["Available"] == "True"
    change = {"status": {"conditions": [{"type": "Mine", "status": "True"}]}, "spec": {"replicas": 9}}
    patched = apps.patch_namespaced_deployment_status("d", space, change)
    assert patched.spec.replicas == 2
    assert "Mine" in {each.type for each in patched.status.conditions}


def test_eviction(core, space, pod_manifest):
    core.create_namespaced_pod(space, pod_manifest("e"))
    eventually(lambda: core.read_namespaced_pod("e", space).status.phase == "Running")
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name="e", namespace=space))
    answer = core.create_namespaced_pod_eviction("e", space, body)
    assert answer is not None
    eventually(lambda: not core.list_namespaced_pod(space).items)


def test_warning_and_generated_name(core, space):
    made = core.create_namespaced_config_map(
        space, client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="gen-"))
    )
    assert made.metadata.name.startswith("gen-")
    assert len(made.metadata.name) == len("gen-") + 5
