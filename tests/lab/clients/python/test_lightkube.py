"""lightkube: typed resources over httpx, server-side apply by default."""

from __future__ import annotations

import pytest

pytest.importorskip("lightkube")
from lightkube import ApiError, AsyncClient, Client, KubeConfig
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

pytestmark = pytest.mark.lab
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.lightkube.example.com}
spec:
  group: lightkube.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@pytest.fixture
def api(client_lab, space) -> Client:
    return Client(
        KubeConfig.from_file(client_lab.kubeconfig).get(), namespace=space, field_manager="lightkube"
    )


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"made": "here"}), data=data)


def refused(call, *arguments, **named) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        call(*arguments, **named)
    return caught.value.status.code, caught.value.status.reason


def test_certificate(client_lab):
    api = Client(KubeConfig.from_file(client_lab.certificate).get())
    assert api.get(Namespace, "default").status.phase == "Active"


def test_objects_and_errors(api):
    made = api.create(config_map("a", x="1"))
    assert refused(api.create, config_map("a")) == (409, "AlreadyExists")
    made.data["y"] = "2"
    changed = api.replace(made)
    assert refused(api.replace, made) == (409, "Conflict")
    assert changed.data == {"x": "1", "y": "2"}
    assert api.patch(ConfigMap, "a", {"data": {"y": None}}).data == {"x": "1"}
    assert api.patch(ConfigMap, "a", {"data": {"z": "3"}}, patch_type=PatchType.MERGE).data == {
        "x": "1",
        "z": "3",
    }
    steps = [{"op": "remove", "path": "/data/z"}]
    assert api.patch(ConfigMap, "a", steps, patch_type=PatchType.JSON).data == {"x": "1"}
    api.delete(ConfigMap, "a", grace_period=0, cascade=CascadeType.BACKGROUND)
    assert refused(api.get, ConfigMap, "a") == (404, "NotFound")
    assert refused(api.create, config_map("B")) == (422, "Invalid")


def test_apply(api):
    wanted = ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="s"), data={"a": "1"})
    assert api.apply(wanted).data == {"a": "1"}
    wanted.data = {"a": "2"}
    assert refused(api.apply, wanted, field_manager="other") == (409, "Conflict")
    assert api.apply(wanted, field_manager="other", force=True).data == {"a": "2"}


def test_lists_in_pages_and_by_selectors(api):
    for number in range(5):
        api.create(config_map(f"c{number}"))
    found = api.list(ConfigMap, labels={"made": "here"}, chunk_size=2)
    assert [each.metadata.name for each in found] == [f"c{number}" for number in range(5)]
    found = api.list(ConfigMap, fields={"metadata.name": "c3"})
    assert [each.metadata.name for each in found] == ["c3"]
    api.deletecollection(ConfigMap)
    assert not list(api.list(ConfigMap, labels={"made": "here"}))


def test_watch(api):
    first = api.create(config_map("w"))
    seen = []
    for change, obj in api.watch(ConfigMap, labels={"made": "here"}, server_timeout=20):
        seen.append((change, obj.metadata.name))
        if len(seen) == 2:
            break
        api.delete(ConfigMap, "w")
    assert seen == [("ADDED", "w"), ("DELETED", "w")]
    again = api.watch(ConfigMap, resource_version=first.metadata.resourceVersion, server_timeout=20)
    assert next(iter(again))[0] == "DELETED"


def test_pod_wait_and_log(api, pod_manifest):
    api.create(Pod.from_dict(pod_manifest("p", "sh", "-c", "echo one; echo two; sleep 600")))
    ready = api.wait(Pod, "p", for_conditions=["Ready"])
    assert ready.status.phase == "Running"
    lines = api.log("p", follow=True)
    assert [next(lines), next(lines)] == ["one\n", "two\n"]
    with pytest.raises(ConditionError):
        api.wait(Pod, "p", for_conditions=["Never"], raise_for_conditions=["Ready"])


def test_scale_and_status(api, pod_manifest):
    pod = pod_manifest("d")
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    api.create(Deployment.from_dict({"metadata": {"name": "d"}, "spec": spec}))
    scale = api.get(Deployment.Scale, "d")
    scale.spec = ScaleSpec(replicas=1)
    scale.metadata.resourceVersion = None  # whatever the controllers wrote meanwhile
    api.replace(scale)
    assert api.patch(Deployment.Scale, "d", {"spec": {"replicas": 1}}).spec.replicas == 1
    assert api.wait(Deployment, "d", for_conditions=["Available"]).spec.replicas == 1
    status = {"status": {"conditions": [{"type": "Mine", "status": "True"}]}}
    found = api.patch(Deployment.Status, "d", status)
    assert "Mine" in {each.type for each in found.status.conditions}


def test_custom_kind(api, client_lab, tmp_path):
    file = tmp_path / "crd.yaml"
    file.write_text(CRD)
    client_lab.kubectl("apply", "-f", str(file))
    client_lab.kubectl(
        "wait", "--for=condition=Established", "crd/widgets.lightkube.example.com", "--timeout=10s"
    )
    widget = create_namespaced_resource("lightkube.example.com", "v1", "Widget", "widgets")
    try:
        api.create(widget(metadata=ObjectMeta(name="w"), spec={"size": 1}))
        found = api.patch(widget, "w", {"spec": {"size": 2}}, patch_type=PatchType.MERGE)
        assert found.spec == {"size": 2}
        status = api.patch(widget.Status, "w", {"status": {"ok": True}}, patch_type=PatchType.MERGE)
        assert status.status == {"ok": True}
        assert [each.metadata.name for each in api.list(widget)] == ["w"]
    finally:
        client_lab.kubectl("delete", "-f", str(file), "--wait=false")


async def test_asynchronous_client(client_lab, space):
    api = AsyncClient(KubeConfig.from_file(client_lab.kubeconfig).get(), namespace=space)
    await api.create(config_map("a", x="1"))
    assert [each.metadata.name async for each in api.list(ConfigMap, labels={"made": "here"})] == ["a"]
    async for change, obj in api.watch(ConfigMap, labels={"made": "here"}):
        assert (change, obj.data) == ("ADDED", {"x": "1"})
        break
    await api.close()
