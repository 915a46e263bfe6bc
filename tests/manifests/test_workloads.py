"""Everything that users have at hand is read: every kind that makes pods, dumps, lists, charts, directories; and what is only noted."""

from __future__ import annotations

import json

import pytest
import yaml

from stockade.manifests.load import load, load_text
from stockade.model.diagnostic import Severity
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Namespace, Pod

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80, "name": "http"}]}]
    },
}
JOB = {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
SELECTED = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
KINDS = {
    ("apps/v1", "Deployment"): SELECTED,
    ("apps/v1", "ReplicaSet"): SELECTED,
    ("apps/v1", "StatefulSet"): {**SELECTED, "serviceName": "web"},
    ("apps/v1", "DaemonSet"): SELECTED,
    ("batch/v1", "Job"): JOB,
    ("batch/v1", "CronJob"): {"schedule": "0 * * * *", "jobTemplate": {"spec": JOB}},
    ("v1", "ReplicationController"): {"selector": {"app": "web"}, "template": TEMPLATE},
}  # fmt: skip


def made(kind, name="web", namespace="shop"):
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": meta, "spec": KINDS[kind]}


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": TEMPLATE["spec"]}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny"},
    "spec": {},
}


def codes(loaded) -> list[str]:
    return [diagnostic.code for diagnostic in loaded.diagnostics]


@pytest.mark.parametrize("kind", KINDS, ids=[kind for _, kind in KINDS])
def test_every_workload_stands_for_a_pod(kind) -> None:
    (found,) = load_text(yaml.safe_dump(made(kind))).objects
    assert (found.kind, found.is_representative) == (kind[1], True)
    assert isinstance(found.view, Pod)
    assert (found.view.metadata.namespace, found.view.labels) == ("shop", {"app": "web"})
    assert [port.name for port in found.view.named_ports()] == ["http"]
    assert found.view.metadata.owner_references[0].name == "web"


@pytest.mark.parametrize("form", ["yaml", "json", "json lines", "documents", "kyaml"])
def test_every_form_of_a_stream(form) -> None:
    objects = [*map(made, KINDS), POD, POLICY]
    text = {
        "yaml": lambda: yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects}),
        "json": lambda: json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=4),
        "json lines": lambda: "\n".join(map(json.dumps, objects)),
        "documents": lambda: yaml.safe_dump_all(objects),
        "kyaml": lambda: "".join(f"---\n{json.dumps(item, indent=2)}\n" for item in objects),
    }[form]()
    loaded = load_text(text)
    assert [found.kind for found in loaded.objects] == [item["kind"] for item in objects]
    assert codes(loaded) == ["implied-namespace"]


@pytest.mark.parametrize("kind", ["PodList", "NetworkPolicyList", "DeploymentList"])
def test_typed_lists_of_kubectl_get_raw(kind) -> None:
    """Their items have no apiVersion and kind of their own."""
    item = {"PodList": POD, "NetworkPolicyList": POLICY, "DeploymentList": made(("apps/v1", "Deployment"))}[
        kind
    ]
    bare = {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
    dump = {
        "apiVersion": item["apiVersion"],
        "kind": kind,
        "metadata": {"resourceVersion": "7"},
        "items": [bare],
    }
    for text in (json.dumps(dump), yaml.safe_dump(dump)):
        (found,) = load_text(text).objects
        assert found.kind == item["kind"]
        assert isinstance(found.view, NetworkPolicy if kind == "NetworkPolicyList" else Pod)


def test_a_dump_of_a_cluster() -> None:
    """What a server adds is no error: status, uid, managedFields, last-applied, ownerReferences."""
    meta = {
        "name": "web-7d-x", "namespace": "shop", "uid": "u", "resourceVersion": "12", "generateName": "web-7d-",
        "creationTimestamp": "2024-01-01T00:00:00Z", "labels": {"app": "web"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d", "uid": "r", "controller": True, "blockOwnerDeletion": True}],
        "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2024-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {}}, "subresource": "status"}],
    }  # fmt: skip
    status = {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "podIPs": [{"ip": "10.0.0.7"}],
        "qosClass": "BestEffort",
    }
    loaded = load_text(json.dumps({**POD, "metadata": meta, "status": status}))
    (found,) = loaded.objects
    assert codes(loaded) == ["implied-namespace"]
    assert found.view.status.pod_ip == "10.0.0.7"


HELM = """---
# Source: shop/charts/db/templates/empty.yaml

---
# Source: shop/templates/policy.yaml
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  labels:
    helm.sh/chart: shop-0.1.0
    app.kubernetes.io/managed-by: Helm
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes:
    - Egress
---
# Source: shop/templates/tests/test.yaml
apiVersion: v1
kind: Pod
metadata:
  name: "shop-test"
  annotations:
    "helm.sh/hook": test
spec:
  containers:
    - name: wget
      image: busybox
      command: ['wget']
      args: ['shop:80']
  restartPolicy: Never
---
"""


def test_helm_template() -> None:
    loaded = load_text(HELM)
    assert [(found.kind, found.key[3]) for found in loaded.objects] == [
        ("NetworkPolicy", "deny"),
        ("Pod", "shop-test"),
    ]
    assert not loaded.diagnostics


def test_kustomize_build_and_its_directory(tmp_path) -> None:
    """``kustomize build`` sorts and quotes; the directory holds a Kustomization as well, which is no object of a cluster."""
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [base/pod.yaml]\n"
    )
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pod.yaml").write_text(yaml.safe_dump(POD))
    loaded = load([str(tmp_path)])
    assert [found.kind for found in loaded.objects if found.view] == ["Pod"]
    assert [(d.code, d.severity) for d in loaded.diagnostics] == [("tool-file", Severity.NOTE)]


def test_missing_namespaces_are_assumed_with_one_note() -> None:
    objects = [made(("apps/v1", "Deployment"), namespace=f"ns{n:02}") for n in range(12)]
    given = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns00", "labels": {"team": "a"}}}
    loaded = load_text(yaml.safe_dump_all([*objects, POD, given]))
    (note,) = loaded.diagnostics
    assert (note.code, note.severity) == ("implied-namespace", Severity.NOTE)
    assert "no Namespace given for ns01, ns02, " in note.message, "ns00 is given, and default is everywhere"
    assert " and 3 more: " in note.message
    assert not load_text(yaml.safe_dump_all([POD, given])).diagnostics
    assert isinstance(load_text(yaml.safe_dump(given)).objects[0].view, Namespace)


def foreign(api_version: str, kind: str, name: str = "x") -> str:
    return (
        f"---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{a: {{b: 1}}}}\n"
    )


def test_a_kind_that_is_not_read_is_noted_once() -> None:
    text = foreign("argoproj.io/v1alpha1", "Rollout") * 2 + foreign("example.com/v1", "Thing")
    text = text.replace("name: x", "name: z", 1)
    loaded = load_text(text, "f")
    assert [(d.code, str(d.position), d.message.partition(":")[0]) for d in loaded.diagnostics] == [
        ("foreign-kind", "f:2:1", "Rollout.argoproj.io (2 objects)"),
        ("foreign-kind", "f:12:1", "Thing.example.com"),
    ]
    assert not loaded.has_errors


@pytest.mark.parametrize(
    ("api_version", "kind", "owner"),
    [
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "the Network Policy API"),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", "the Network Policy API"),
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", "the Network Policy API"),
        ("cilium.io/v2", "CiliumNetworkPolicy", "Cilium"),
        ("crd.projectcalico.org/v1", "NetworkPolicy", "Calico"),
    ],
)
def test_policies_of_others_are_not_evaluated_and_that_is_said(api_version, kind, owner) -> None:
    (warning,) = load_text(foreign(api_version, kind)).diagnostics
    assert (warning.code, warning.severity) == ("not-evaluated", Severity.WARNING)
    assert f": not evaluated; a policy of {owner} " in warning.message


SERVED = [("v1", "PersistentVolume"), ("v1", "ResourceQuota"), ("v1", "LimitRange"), ("v1", "ConfigMap"), ("v1", "Secret"),
          ("networking.k8s.io/v1", "Ingress"), ("networking.k8s.io/v1", "IngressClass"), ("policy/v1", "PodDisruptionBudget"),
          ("autoscaling/v2", "HorizontalPodAutoscaler"), ("storage.k8s.io/v1", "StorageClass"), ("scheduling.k8s.io/v1", "PriorityClass"),
          ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("v1", "ServiceAccount")]  # fmt: skip


@pytest.mark.parametrize(("api_version", "kind"), SERVED)
def test_what_a_cluster_serves_beside_is_read_in_silence(api_version, kind) -> None:
    loaded = load_text(foreign(api_version, kind).replace("spec: {a: {b: 1}}\n", ""))
    assert [(found.kind, found.view) for found in loaded.objects] == [(kind, None)]
    assert not loaded.diagnostics
