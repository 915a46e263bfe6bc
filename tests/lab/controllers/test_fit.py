"""Which nodes a pod fits: affinity, taints, host ports, full nodes; and the sentence when none does."""

import pytest

from stockade.lab.controllers.fit import Refusal, message, refusal

from .conftest import node, pod


def labelled(**labels):
    return {**node(), "metadata": {"name": "node-1", "labels": labels}}


def affine(*terms):
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return pod("a", affinity={"nodeAffinity": required})


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        (expression("disk", "In", "ssd", "nvme"), True),
        (expression("disk", "In", "hdd"), False),
        (expression("disk", "NotIn", "hdd"), True),
        (expression("gpu", "NotIn", "yes"), True),
        (expression("disk", "Exists"), True),
        (expression("gpu", "Exists"), False),
        (expression("gpu", "DoesNotExist"), True),
        (expression("cores", "Gt", "4"), True),
        (expression("cores", "Gt", "8"), False),
        (expression("cores", "Lt", "9"), True),
        (expression("disk", "Gt", "4"), False),
        (expression("disk", "Near", "ssd"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}, False),
        ({}, False),
    ],
)
def test_required_node_affinity(term, fits):
    found = refusal(labelled(disk="ssd", cores="8"), affine(term), [])
    assert found == (None if fits else Refusal("node(s) didn't match Pod's node affinity/selector"))


def test_one_term_of_several_is_enough():
    terms = affine(expression("disk", "In", "hdd"), expression("disk", "In", "ssd"))
    assert refusal(labelled(disk="ssd"), terms, []) is None


def port(number, protocol="TCP", ip=""):
    return {"containerPort": 80, "hostPort": number, "protocol": protocol, **({"hostIP": ip} if ip else {})}


@pytest.mark.parametrize(
    ("wanted", "taken", "collides"),
    [
        (port(80), port(80), True),
        (port(80), port(81), False),
        (port(80), port(80, "UDP"), False),
        (port(80, ip="172.30.0.1"), port(80), True),
        (port(80, ip="172.30.0.1"), port(80, ip="127.0.0.1"), False),
        (port(80, ip="0.0.0.0"), port(80, ip="127.0.0.1"), True),
        ({"containerPort": 80}, {"containerPort": 80}, False),
    ],
)
def test_host_ports(wanted, taken, collides):
    found = refusal(node(), pod("a", ports=[wanted]), [pod("b", ports=[taken])])
    text = "node(s) didn't have free ports for the requested pod ports"
    assert found == (Refusal(text, preemptible=True) if collides else None)


def test_on_the_nodes_network_every_port_is_the_nodes():
    there = pod("b", ports=[{"containerPort": 80}], hostNetwork=True)
    assert refusal(node(), pod("a", ports=[port(80)]), [there]) is not None
    assert refusal(node(), pod("a", ports=[{"containerPort": 80}], hostNetwork=True), [there]) is not None


def test_a_full_node():
    full = node()
    full["status"]["allocatable"] = {"pods": "2"}
    assert refusal(full, pod("a"), [pod("b")]) is None
    assert refusal(full, pod("a"), [pod("b"), pod("c")]) == Refusal("Too many pods", preemptible=True)


@pytest.mark.parametrize(
    ("tolerations", "fits"),
    [
        ([], False),
        ([{"operator": "Exists"}], True),
        ([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}], True),
        ([{"key": "other", "operator": "Exists"}], False),
        ([{"key": "node.kubernetes.io/unschedulable", "value": "x"}], False),
    ],
)
def test_a_cordon_can_be_tolerated(tolerations, fits):
    cordoned = node(unschedulable=True)
    assert (refusal(cordoned, pod("a", tolerations=tolerations), []) is None) == fits


def test_preference_is_no_refusal():
    soft = node(taints=[{"key": "x", "effect": "PreferNoSchedule"}])
    assert refusal(soft, pod("a"), []) is None


def test_the_sentence():
    ports, affinity = Refusal("no ports", preemptible=True), Refusal("no match")
    assert message([affinity, ports, affinity]) == (
        "0/3 nodes are available: 1 no ports, 2 no match. preemption: 0/3 nodes are available: "
        "1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    )
    assert message([]) == "no nodes available to schedule pods"
