"""kr8s: objects that know how to do things; asynchronous inside, here by its synchronous face."""

from __future__ import annotations

import itertools
import urllib.request

import pytest

pytest.importorskip("kr8s")
import kr8s
from kr8s.objects import ConfigMap, Deployment, Pod, Service, new_class, object_from_spec

pytestmark = pytest.mark.lab


@pytest.fixture
def api(client_lab, space):
    return kr8s.api(kubeconfig=client_lab.kubeconfig, namespace=space)


def config_map(api, name: str, **data: str) -> ConfigMap:
    metadata = {"name": name, "labels": {"made": "here"}}
    return ConfigMap({"metadata": metadata, "data": data}, namespace=api.namespace, api=api)


def test_certificate_and_version(client_lab):
    api = kr8s.api(kubeconfig=client_lab.certificate)
    assert api.version()["major"] == "1"
    assert "admin" in api.whoami()
    assert {"networkpolicies", "pods"} <= {each["name"] for each in api.api_resources()}


def test_objects_and_errors(api):
    made = config_map(api, "a", x="1")
    made.create()
    with pytest.raises(kr8s.ServerError) as caught:
        config_map(api, "a").create()
    assert caught.value.response.status_code == 409
    assert 'configmaps "a" already exists' in str(caught.value)
    made.patch({"data": {"y": "2"}})
    assert made.data == {"x": "1", "y": "2"}
    made.patch([{"op": "remove", "path": "/data/y"}], type="json")
    assert made.data == {"x": "1"}
    made.label(more="labels")
    made.annotate({"example.com/note": "text"})
    made.refresh()
    assert made.labels["more"] == "labels"
    assert made.exists()
    made.delete()
    assert not made.exists()
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("a", namespace=api.namespace, api=api, timeout=1)


def test_lists_and_selectors(api):
    for number in range(3):
        config_map(api, f"c{number}").create()
    names = [each.name for each in api.get("configmaps", label_selector={"made": "here"})]
    assert names == ["c0", "c1", "c2"]
    found = api.get("cm", field_selector={"metadata.name": "c1"})
    assert [each.name for each in found] == ["c1"]


def test_watch(api):
    made = config_map(api, "w")
    made.create()
    seen = []
    for change, obj in api.watch("configmaps", label_selector={"made": "here"}):
        seen.append((change, obj.name))
        if len(seen) == 2:
            break
        made.delete()
    assert seen == [("ADDED", "w"), ("DELETED", "w")]


def test_pod_wait_exec_and_logs(api, pod_manifest):
    pod = Pod(
        pod_manifest("p", "sh", "-c", "echo one; echo two; sleep 600"), namespace=api.namespace, api=api
    )
    pod.create()
    pod.wait("condition=Ready", timeout=20)
    assert pod.ready()
    done = pod.exec(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0)
    assert pod.exec(["sh", "-c", "exit 3"], check=False).returncode == 3
    assert list(itertools.islice(pod.logs(follow=True), 2)) == ["one", "two"]
    pod.delete()
    pod.wait("delete", timeout=20)


def test_port_forward(client_lab, sleeper):
    pod = Pod.get(sleeper, namespace="default", api=kr8s.api(kubeconfig=client_lab.kubeconfig))
    with pod.portforward(remote_port=80, local_port="auto") as port:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing", timeout=10)


def test_scale(api, pod_manifest):
    pod = pod_manifest("d")
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    deployment = Deployment({"metadata": {"name": "d"}, "spec": spec}, namespace=api.namespace, api=api)
    deployment.create()
    deployment.scale(1)
    deployment.wait("condition=Available", timeout=20)
    assert [each.labels["app"] for each in deployment.pods()] == ["d"]


def test_kinds_that_it_does_not_know(api):
    lease = new_class("Lease", version="coordination.k8s.io/v1", namespaced=True)
    found = lease(
        {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}, namespace=api.namespace, api=api
    )
    found.create()
    assert found.spec.holderIdentity == "me"
    service = object_from_spec(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
        api=api,
    )
    service.namespace = api.namespace
    service.create()
    assert Service.get("s", namespace=api.namespace, api=api).spec.clusterIP.startswith("10.")
