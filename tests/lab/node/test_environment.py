"""env, envFrom, references and Service variables of a container."""

from __future__ import annotations

import base64

import pytest

from stockade.lab.node import quantities
from stockade.lab.node.environment import ConfigError, declared, expand_all


class Objects:
    def __init__(self) -> None:
        self.held = {
            ("configmaps", "prod", "cm"): {"data": {"a": "1", "b": "two"}},
            ("secrets", "prod", "s"): {"data": {"k": base64.b64encode(b"hidden").decode()}},
            ("services", "default", "kubernetes"): service("kubernetes", "10.96.0.1", 443, "https"),
            ("services", "prod", "my-db"): service("my-db", "10.96.0.7", 5432),
            ("services", "prod", "headless"): service("headless", "None", 80),
        }

    def find(self, resource, namespace, name):
        return self.held.get((resource, namespace, name))

    def list(self, resource, namespace=""):
        return [obj for key, obj in self.held.items() if key[:2] == (resource, namespace)]


def service(name: str, address: str, port: int, port_name: str = "") -> dict:
    spec = {"clusterIP": address, "ports": [{"port": port, "protocol": "TCP", "name": port_name}]}
    return {"metadata": {"name": name}, "spec": spec}


def pod(**spec) -> dict:
    meta = {"name": "web", "namespace": "prod", "uid": "u1", "labels": {"app": "web"}}
    status = {
        "podIP": "10.244.0.2",
        "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}],
        "hostIP": "172.30.0.1",
    }
    return {"metadata": meta, "spec": {"nodeName": "n1", **spec}, "status": status}


def env(*entries: dict, **container) -> dict[str, str]:
    wanted = {"name": "c", "env": list(entries), **container}
    return declared(wanted, pod(containers=[wanted], enableServiceLinks=False), Objects())


def ref(kind: str, **reference) -> dict:
    return {"name": "A", "valueFrom": {kind: reference}}


def test_fields() -> None:
    fields = {
        "NAME": ("metadata.name", "web"),
        "NS": ("metadata.namespace", "prod"),
        "IPS": ("status.podIPs", "10.244.0.2,fd00::2"),
        "NODE": ("spec.nodeName", "n1"),
        "HOST": ("status.hostIP", "172.30.0.1"),
        "APP": ("metadata.labels['app']", "web"),
        "NONE": ("metadata.annotations['x']", ""),
    }
    entries = [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, (path, _) in fields.items()
    ]
    found = env(*entries, {"name": "BOTH", "value": "$(NAME)-$(NODE)-$(LATER)-$$(NS)"}, {"name": "LATER"})
    assert {key: found[key] for key in fields} == {key: value for key, (_, value) in fields.items()}
    assert (found["BOTH"], found["LATER"]) == ("web-n1-$(LATER)-$(NS)", "")


def test_keys_of_configmaps_and_secrets() -> None:
    assert env(ref("configMapKeyRef", name="cm", key="b"))["A"] == "two"
    assert env(ref("secretKeyRef", name="s", key="k"))["A"] == "hidden"
    assert "A" not in env(ref("secretKeyRef", name="s", key="no", optional=True))
    assert "A" not in env(ref("configMapKeyRef", name="no", key="no", optional=True))


def test_all_of_a_configmap_with_a_prefix() -> None:
    sources = [
        {"prefix": "P_", "configMapRef": {"name": "cm"}},
        {"configMapRef": {"name": "cm"}},
        {"secretRef": {"name": "no", "optional": True}},
    ]
    found = env({"name": "a", "value": "over $(P_a)"}, envFrom=sources)
    assert {key: found[key] for key in ("a", "b", "P_a", "P_b")} == {
        "a": "over 1",
        "b": "two",
        "P_a": "1",
        "P_b": "two",
    }


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (ref("secretKeyRef", name="no", key="k"), 'secret "no" not found'),
        (ref("configMapKeyRef", name="no", key="k"), 'configmap "no" not found'),
        (ref("configMapKeyRef", name="cm", key="k"), "couldn't find key k in ConfigMap prod/cm"),
        (ref("fieldRef", fieldPath="spec.x"), "unsupported fieldPath: spec.x"),
        (ref("resourceFieldRef", resource="limits.gpu"), "unsupported container resource"),
        (ref("fileKeyRef", path="x"), "fileKeyRef is not supported"),
    ],
)
def test_what_is_missing_is_said(entry, text) -> None:
    with pytest.raises(ConfigError, match=text):
        env(entry)


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "250"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1", str(64 << 20)),
        ("requests.cpu", "1m", "250"),
    ],
)
def test_resources(resource, divisor, expected) -> None:
    limits = {"limits": {"cpu": "250m", "memory": "64Mi"}}
    assert env(ref("resourceFieldRef", resource=resource, divisor=divisor), resources=limits)["A"] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("1k", 1000), ("1Ki", 1024), ("1.5Gi", 3 << 29), ("1e3", 1000), ("100m", 0.1)],
)
def test_quantities(text, value) -> None:
    assert float(quantities.parse(text)) == value
    with pytest.raises(ValueError, match="no quantity"):
        quantities.parse(f"{text}x")


def test_service_variables() -> None:
    found = declared({"name": "c"}, pod(), Objects())
    assert found["MY_DB_SERVICE_HOST"] == "10.96.0.7"
    assert found["MY_DB_PORT"] == found["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.7:5432"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not any(key.startswith("HEADLESS") for key in found)
    without = declared({"name": "c"}, pod(enableServiceLinks=False), Objects())
    assert "MY_DB_SERVICE_HOST" not in without
    assert without["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_sub_path_expressions_want_every_name() -> None:
    assert expand_all("a/$(X)/$$(Y)", {"X": "1"}) == "a/1/$(Y)"
    with pytest.raises(ConfigError, match="'Y'"):
        expand_all("$(Y)", {"X": "1"})
