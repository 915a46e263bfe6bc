"""Validation of the other kinds, word for word (reference semantics 7)."""

from __future__ import annotations

import pytest

from stockade.manifests.validate import validate, validate_update

DNS1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def obj(api_version, kind, name="x", **fields) -> dict:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def pod(*containers, **spec) -> dict:
    return obj("v1", "Pod", spec={"containers": list(containers) or [{"name": "a", "image": "i"}], **spec})


def service(**spec) -> dict:
    return obj("v1", "Service", spec=spec)


def deployment(labels=None, selector=None, **spec) -> dict:
    template = {
        "metadata": {"labels": labels or {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "i"}]},
    }
    chosen = {"matchLabels": {"app": "a"}} if selector is None else selector
    return obj("apps/v1", "Deployment", spec={"selector": chosen, "template": template, **spec})


def messages(value) -> list[str]:
    return [error.message for error in validate(value)]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"image": "i"}, ["spec.containers[0].name: Required value"]),
        ({"name": "a"}, ["spec.containers[0].image: Required value"]),
        ({"name": "A", "image": "i"}, [f'spec.containers[0].name: Invalid value: "A": {LABEL}']),
        ({"name": "a.b", "image": "i"}, ['spec.containers[0].name: Invalid value: "a.b": must not contain dots']),
        ({"name": "a", "image": " i"}, ['spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace']),
        ({"name": "a", "image": "i", "ports": [{}]}, ["spec.containers[0].ports[0].containerPort: Required value"]),
        ({"name": "a", "image": "i", "ports": [{"containerPort": 70000}]},
         ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        ({"name": "a", "image": "i", "ports": [{"containerPort": 1, "protocol": "tcp"}]},
         ['spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"']),
        ({"name": "a", "image": "i", "ports": [{"containerPort": 1, "name": "h"}, {"containerPort": 2, "name": "h"}]},
         ['spec.containers[0].ports[1].name: Duplicate value: "h"']),
        ({"name": "a", "image": "i", "ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}, []),
        ({"name": "a", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
         ['spec.containers[0].volumeMounts[0].name: Not found: "v"']),
        ({"name": "a", "image": "i", "volumeMounts": [
            {"name": "v", "mountPath": "/a", "subPath": "/etc"}, {"name": "v", "mountPath": "/b", "subPathExpr": "$(X)/../y"},
            {"name": "v", "mountPath": "/c", "subPath": "x", "subPathExpr": "y"}, {"name": "v", "mountPath": "/d", "subPath": "..data/x"}]},
         ['spec.containers[0].volumeMounts[0].name: Not found: "v"',
          'spec.containers[0].volumeMounts.subPath: Invalid value: "/etc": must be a relative path',
          'spec.containers[0].volumeMounts[1].name: Not found: "v"',
          """spec.containers[0].volumeMounts.subPathExpr: Invalid value: "$(X)/../y": must not contain '..'""",
          'spec.containers[0].volumeMounts[2].name: Not found: "v"',
          'spec.containers[0].volumeMounts.subPathExpr: Invalid value: "y": subPathExpr and subPath are mutually exclusive',
          'spec.containers[0].volumeMounts[3].name: Not found: "v"']),
        ({"name": "a", "image": "i", "readinessProbe": {}},
         ["spec.containers[0].readinessProbe: Required value: must specify a handler type"]),
        ({"name": "a", "image": "i", "env": [{"value": "x"}]}, ["spec.containers[0].env[0].name: Required value"]),
    ],
)  # fmt: skip
def test_containers(container, expected) -> None:
    assert messages(pod(container)) == expected


def test_pods() -> None:
    assert messages(obj("v1", "Pod", spec={})) == ["spec.containers: Required value"]
    twice = {"name": "a", "image": "i"}
    assert messages(pod(twice, twice)) == ['spec.containers[1].name: Duplicate value: "a"']
    assert messages(pod(restartPolicy="always")) == [
        'spec.restartPolicy: Unsupported value: "always": supported values: "Always", "OnFailure", "Never"'
    ]
    assert messages(pod(volumes=[{"name": "v"}, {"name": "v"}])) == [
        'spec.volumes[1].name: Duplicate value: "v"'
    ]
    assert messages(pod(initContainers=[twice])) == ['spec.initContainers[0].name: Duplicate value: "a"']


def test_a_pod_may_change_labels_and_images_but_not_its_spec() -> None:
    old = pod()
    relabelled = {**pod({"name": "a", "image": "j"}), "metadata": {"name": "x", "labels": {"a": "b"}}}
    assert validate_update(relabelled, old) == []
    changed = [error.message for error in validate_update(pod(hostNetwork=True), old)]
    assert len(changed) == 1
    assert changed[0].startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["spec.ports: Required value"]),
        ({"clusterIP": "None"}, []),
        ({"ports": [{"port": 80}]}, []),
        ({"ports": [{"port": 0}]}, ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, ["spec.ports[0].name: Required value"]),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, ['spec.ports[1].name: Duplicate value: "a"']),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}]}, []),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
         ['spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}']),
        ({"ports": [{"port": 80, "nodePort": 30000}]},
         ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
        ({"ports": [{"port": 80}], "type": "clusterip"},
         ['spec.type: Unsupported value: "clusterip": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
        ({"ports": [{"port": 80}], "type": "NodePort", "clusterIP": "None"},
         ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]),
        ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
        ({"type": "ExternalName", "externalName": "example.com."}, []),
        ({"ports": [{"port": 80, "targetPort": "80"}]},
         ['spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)']),
    ],
)  # fmt: skip
def test_services(spec, expected) -> None:
    assert messages(service(**spec)) == expected


def test_service_names_and_the_fixed_address() -> None:
    assert messages({**service(ports=[{"port": 1}]), "metadata": {"name": "1a"}}) == [
        f'metadata.name: Invalid value: "1a": {DNS1035}'
    ]
    old, new = (
        service(ports=[{"port": 1}], clusterIP="10.96.0.2"),
        service(ports=[{"port": 1}], clusterIP="10.96.0.3"),
    )
    assert [error.message for error in validate_update(new, old)] == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.3"]: may not change once set'
    ]


def test_workloads() -> None:
    assert messages(deployment()) == []
    assert messages(deployment(labels={"app": "b"})) == [
        'spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`'
    ]
    assert messages(deployment(selector={})) == [
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
    ]
    assert messages(deployment(replicas=-1)) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]
    without = deployment()
    del without["spec"]["selector"]
    assert messages(without) == [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
    ]
    never = deployment()
    never["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert messages(never) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]
    other = deployment(labels={"app": "a", "b": "c"}, selector={"matchLabels": {"b": "c"}})
    assert [error.message for error in validate_update(other, deployment())] == [
        'spec.selector: Invalid value: {"matchLabels":{"b":"c"}}: field is immutable'
    ]


def test_jobs_must_choose_when_to_restart() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i"}]}}
    assert messages(obj("batch/v1", "Job", spec={"template": template})) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


def test_namespaces_and_others() -> None:
    assert messages(obj("v1", "Namespace", "a.b")) == [
        'metadata.name: Invalid value: "a.b": must not contain dots'
    ]
    assert messages(obj("v1", "ConfigMap", "a.b")) == []
    scoped = obj("v1", "Namespace")
    scoped["metadata"]["namespace"] = "n"
    assert messages(scoped) == ["metadata.namespace: Forbidden: not allowed on this type"]
    large = obj("v1", "ConfigMap")
    large["metadata"]["annotations"] = {"a": "x" * 262144}
    assert messages(large) == ["metadata.annotations: Too long: may not be more than 262144 bytes"]
