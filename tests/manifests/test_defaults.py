"""The server's defaults (reference semantics 1.1 and 7)."""

from __future__ import annotations

import copy

import pytest

from stockade.manifests.defaults import apply_defaults


def defaulted(api_version, kind, spec) -> dict:
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    apply_defaults(obj)
    again = copy.deepcopy(obj)
    apply_defaults(again)
    assert again == obj, "defaults are applied once and for all"
    return obj["spec"]


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        (None, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": []}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Ingress"]}, ["Ingress"]),
    ],
)
def test_policy_types(spec, types) -> None:
    assert defaulted("networking.k8s.io/v1", "NetworkPolicy", spec)["policyTypes"] == types


def test_protocols_of_a_policy() -> None:
    spec = {"ingress": [{"ports": [{"port": 1}, {"protocol": "UDP"}]}], "egress": [{"ports": [{}]}]}
    found = defaulted("networking.k8s.io/v1", "NetworkPolicy", spec)
    assert found["ingress"][0]["ports"] == [{"port": 1, "protocol": "TCP"}, {"protocol": "UDP"}]
    assert found["egress"][0]["ports"] == [{"protocol": "TCP"}]
    assert found["podSelector"] == {}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_pull_policy(image, policy) -> None:
    found = defaulted("v1", "Pod", {"containers": [{"name": "a", "image": image}]})
    assert found["containers"][0]["imagePullPolicy"] == policy


def test_pod() -> None:
    probe = {"httpGet": {"port": 80}}
    container = {"name": "a", "image": "i:1", "ports": [{"containerPort": 80}], "livenessProbe": probe}
    found = defaulted(
        "v1", "Pod", {"containers": [container], "volumes": [{"name": "v"}], "restartPolicy": "Never"}
    )
    assert found == {
        "containers": [
            {
                "name": "a",
                "image": "i:1",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "restartPolicy": "Never",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
        "securityContext": {},
    }


def test_host_network_uses_host_ports() -> None:
    spec = {
        "hostNetwork": True,
        "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}],
    }
    assert defaulted("v1", "Pod", spec)["containers"][0]["ports"][0]["hostPort"] == 80


def test_service() -> None:
    assert defaulted("v1", "Service", {"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]}) == {
        "ports": [
            {"port": 80, "protocol": "TCP", "targetPort": 80},
            {"port": 81, "protocol": "TCP", "targetPort": "http"},
        ],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    balanced = defaulted("v1", "Service", {"type": "LoadBalancer", "ports": [{"port": 80}]})
    assert (balanced["externalTrafficPolicy"], balanced["allocateLoadBalancerNodePorts"]) == ("Cluster", True)


def test_deployment() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i"}]}}
    found = defaulted("apps/v1", "Deployment", {"replicas": 0, "template": template})
    assert found["replicas"] == 0, "zero is given"
    assert found["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert found["template"]["spec"]["restartPolicy"] == "Always"
