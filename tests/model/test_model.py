"""Views: what the API leaves open (null, empty, absent) reads as the specification says."""

from __future__ import annotations

import msgspec
import pytest

from stockade.model.diagnostic import Diagnostic, Position, Severity
from stockade.model.meta import ObjectRef
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service
from stockade.model.selectors import LabelSelector, LabelSelectorRequirement


def policy(**spec) -> NetworkPolicy:
    return msgspec.convert({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}, NetworkPolicy)


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, {"Ingress"}),
        ({"egress": []}, {"Ingress"}),
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"ingress": [{}]}, {"Ingress"}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {"Egress"}),
        ({"policyTypes": [], "egress": [{}]}, {"Ingress", "Egress"}),
    ],
)
def test_policy_types_default(spec, directions) -> None:
    assert policy(**spec).directions == directions


def test_absent_and_empty_peers_differ_only_where_the_api_says_so() -> None:
    rule = policy(egress=[{"to": [{"podSelector": {}}, {"namespaceSelector": None}]}]).spec.egress[0]
    assert rule.to[0].pod_selector == LabelSelector()
    assert rule.to[1].namespace_selector is None
    assert policy(egress=[{}]).spec.egress[0].peers == []
    assert policy().pod_selector.is_empty


@pytest.mark.parametrize(
    ("operator", "values", "labels", "matches"),
    [
        ("In", ["a", "b"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {"k": "b"}, True),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"k": "x"}, False),
        ("Equals", ["a"], {"k": "a"}, False),
    ],
)
def test_rule_8_requirements(operator, values, labels, matches) -> None:
    requirement = LabelSelectorRequirement(key="k", operator=operator, values=values)
    assert requirement.matches(labels) is matches
    assert LabelSelector(match_expressions=[requirement]).matches(labels) is matches


def test_a_selector_is_a_conjunction_and_empty_is_all() -> None:
    both = LabelSelector(
        match_labels={"app": "web"},
        match_expressions=[LabelSelectorRequirement(key="tier", operator="Exists")],
    )
    assert both.matches({"app": "web", "tier": "x"})
    assert not both.matches({"app": "web"})
    assert not both.matches({"tier": "x"})
    assert LabelSelector().matches(None)
    assert (str(both), str(LabelSelector())) == ("app=web,tier", "<all>")


def test_the_key_of_a_selector_ignores_order() -> None:
    one = msgspec.convert(
        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, LabelSelector
    )
    other = msgspec.convert(
        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}, LabelSelector
    )
    assert one.key == other.key
    assert one.key != LabelSelector().key


def test_pod_addresses_and_named_ports() -> None:
    pod = msgspec.convert(
        {
            "metadata": {"name": "p"},
            "spec": {
                "containers": [
                    {"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]}
                ],
                "initContainers": [
                    {
                        "name": "s",
                        "restartPolicy": "Always",
                        "ports": [{"containerPort": 90, "name": "side"}],
                    },
                    {"name": "i", "ports": [{"containerPort": 91, "name": "init"}]},
                ],
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            },
        },
        Pod,
    )
    assert pod.ips == ("10.0.0.1", "fd00::1")
    assert [port.name for port in pod.named_ports()] == ["http", "side"]
    assert not pod.is_finished
    assert not pod.on_host_network


def test_other_views() -> None:
    meta = {"name": "x", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}}
    assert msgspec.convert({"metadata": {"name": "x"}}, Namespace).labels == {
        "kubernetes.io/metadata.name": "x"
    }
    headless = msgspec.convert({"metadata": meta, "spec": {"clusterIP": "None"}}, Service)
    assert (headless.virtual_ips, headless.is_headless) == ((), True)
    assert msgspec.convert({"metadata": meta, "addressType": "IPv4"}, EndpointSlice).service == ObjectRef(
        "n", "web"
    )
    node = msgspec.convert(
        {
            "metadata": {"name": "x"},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "x"},
                    {"type": "InternalIP", "address": "1.2.3.4"},
                ]
            },
        },
        Node,
    )
    assert (node.pod_cidrs, node.ips) == (("10.0.0.0/24",), ("1.2.3.4",))


def test_a_diagnostic_reads_as_one_line() -> None:
    diagnostic = Diagnostic(
        code="x", message="wrong", severity=Severity.WARNING, path="spec.a", object="Pod p",
        position=Position("f.yaml", 3, 5), hint="write b",
    )  # fmt: skip
    assert str(diagnostic) == "f.yaml:3:5: warning: Pod p: spec.a: wrong (write b)"
