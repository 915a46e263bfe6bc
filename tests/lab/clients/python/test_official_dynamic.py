"""The official Python client's dynamic client: kinds found by discovery, custom kinds, server-side apply."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("kubernetes")
from kubernetes import client, config, utils
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    ResourceNotFoundError,
    UnprocessibleEntityError,
)

pytestmark = pytest.mark.lab
GROUP = "official.example.com"
GADGET = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"gadgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer", "maximum": 5, "default": 1}},
                            },
                            "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def api(client_lab) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(client_lab.kubeconfig) as connection:
        yield connection


@pytest.fixture(scope="module")
def dynamic(api) -> DynamicClient:
    return DynamicClient(api)


@pytest.fixture(scope="module")
def gadgets(dynamic):
    crds = dynamic.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    crds.create(body=GADGET)
    for event in crds.watch(field_selector=f"metadata.name=gadgets.{GROUP}", timeout=20):
        conditions = (event["raw_object"].get("status") or {}).get("conditions", [])
        if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            break
    dynamic.resources.invalidate_cache()
    yield dynamic.resources.get(api_version=f"{GROUP}/v1", kind="Gadget")
    crds.delete(name=f"gadgets.{GROUP}")


def test_kinds_are_found(dynamic):
    found = dynamic.resources.get(api_version="v1", kind="Pod")
    assert (found.name, found.namespaced, found.short_names) == ("pods", True, ["po"])
    assert dynamic.resources.get(kind="NetworkPolicy").group == "networking.k8s.io"
    assert dynamic.version["kubernetes"]["major"] == "1"
    with pytest.raises(ResourceNotFoundError):
        dynamic.resources.get(api_version="v1", kind="Nonsense")


def test_objects_and_errors(dynamic, space):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "d"}, "data": {"a": "1"}}
    made = maps.create(body=body, namespace=space)
    with pytest.raises(ConflictError):
        maps.create(body=body, namespace=space)
    changed = maps.patch(
        body={"data": {"b": "2"}}, name="d", namespace=space, content_type="application/merge-patch+json"
    )
    assert changed.data.to_dict() == {"a": "1", "b": "2"}
    with pytest.raises(ConflictError):
        maps.replace(body=made.to_dict(), namespace=space)
    assert [
        each.metadata.name for each in maps.get(namespace=space, field_selector="metadata.name=d").items
    ] == ["d"]
    maps.delete(name="d", namespace=space)
    with pytest.raises(NotFoundError):
        maps.get(name="d", namespace=space)


def test_strict_validation_of_fields(dynamic, space):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    with pytest.raises(BadRequestError) as caught:
        maps.create(
            body={"metadata": {"name": "typo"}, "dta": {}},
            namespace=space,
            query_params=[("fieldValidation", "Strict")],
        )
    assert 'unknown field \\"dta\\"' in str(caught.value.body)


def test_server_side_apply(dynamic, space):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "ssa"}, "data": {"a": "1"}}
    maps.server_side_apply(body=body, namespace=space, field_manager="one")
    body["data"]["a"] = "2"
    with pytest.raises(ConflictError):
        maps.server_side_apply(body=body, namespace=space, field_manager="two")
    found = maps.server_side_apply(body=body, namespace=space, field_manager="two", force_conflicts=True)
    assert found.data.a == "2"


def test_custom_kind(api, gadgets, space):
    made = gadgets.create(
        body={"metadata": {"name": "g"}, "kind": "Gadget", "apiVersion": f"{GROUP}/v1"}, namespace=space
    )
    assert made.spec is None
    gadgets.patch(body={"spec": {}}, name="g", namespace=space, content_type="application/merge-patch+json")
    custom = client.CustomObjectsApi(api)
    where = (GROUP, "v1", space, "gadgets")
    assert custom.get_namespaced_custom_object(*where, "g")["spec"] == {"size": 1}
    with pytest.raises(UnprocessibleEntityError):
        gadgets.patch(
            body={"spec": {"size": 9}}, name="g", namespace=space, content_type="application/merge-patch+json"
        )
    custom.patch_namespaced_custom_object_status(*where, "g", {"status": {"size": 3}, "spec": {"size": 4}})
    found = custom.list_namespaced_custom_object(*where)["items"][0]
    assert (found["spec"], found["status"]) == ({"size": 1}, {"size": 3})
    scale = custom.get_namespaced_custom_object_scale(*where, "g")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 3)
    gadgets.status.patch(
        body={"status": {"size": 4}}, name="g", namespace=space, content_type="application/merge-patch+json"
    )
    assert gadgets.get(name="g", namespace=space).status.size == 4
    custom.delete_namespaced_custom_object(*where, "g")
    assert custom.list_namespaced_custom_object(*where)["items"] == []


def test_watch(dynamic, space):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    since = maps.get(namespace=space).metadata.resourceVersion
    body = {"metadata": {"name": "later", "labels": {"w": "1"}}}
    threading.Timer(0.1, maps.create, kwargs={"body": body, "namespace": space}).start()
    events = maps.watch(namespace=space, resource_version=since, label_selector="w", timeout=20)
    event = next(events)
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "later")


def test_objects_of_a_file(api, space, tmp_path):
    file = tmp_path / "objects.yaml"
    file.write_text(
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {space}}}\nstringData: {{a: b}}\n---\n"
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: deny, namespace: {space}}}\n"
        "spec: {podSelector: {}}\n"
    )
    utils.create_from_yaml(api, str(file))
    assert client.CoreV1Api(api).read_namespaced_secret("s", space).data == {"a": "Yg=="}
    found = client.NetworkingV1Api(api).read_namespaced_network_policy("deny", space)
    assert found.spec.policy_types == ["Ingress"]
    with pytest.raises(utils.FailToCreateError) as caught:
        utils.create_from_yaml(api, str(file))
    assert {each.status for each in caught.value.api_exceptions} == {409}
