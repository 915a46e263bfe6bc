"""Cells of ``kubectl get`` that take some thinking: the words of a pod's status, ages, ports, selectors."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.ages import human_duration
from stockade.lab.apiserver.printers import PRINTERS


def cells(kind, obj):
    printer = PRINTERS[kind]
    obj = {**obj, "metadata": {"name": "x", **obj.get("metadata", {})}}
    return dict(zip([column.name for column in printer.columns], printer.row(obj), strict=True))


@pytest.mark.parametrize("kind", PRINTERS)
def test_bare_objects_can_be_printed(kind):
    assert cells(kind, {})["Name"] == "x"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (11460, "3h11m"),
        (28800, "8h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (8 * 86400, "8d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_durations(seconds, expected):
    assert human_duration(seconds) == expected


def running(**more):
    return {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def ended(code=0, **more):
    return {"name": "c", "ready": False, "state": {"terminated": {"exitCode": code, **more}}}


def waiting(reason):
    return {"name": "c", "ready": False, "state": {"waiting": {"reason": reason}}}


@pytest.mark.parametrize(
    ("status", "metadata", "expected"),
    [
        ({"phase": "Pending"}, {}, ("0/1", "Pending")),
        ({"phase": "Running", "containerStatuses": [running()]}, {}, ("1/1", "Running")),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, {}, ("0/1", "ContainerCreating")),
        ({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull")]}, {}, ("0/1", "ErrImagePull")),
        ({"phase": "Succeeded", "containerStatuses": [ended(reason="Completed")]}, {}, ("0/1", "Completed")),
        ({"phase": "Failed", "containerStatuses": [ended(1, reason="Error")]}, {}, ("0/1", "Error")),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, {}, ("0/1", "ExitCode:3")),
        ({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}, {}, ("0/1", "Signal:9")),
        ({"phase": "Running", "containerStatuses": [running()]}, {"deletionTimestamp": "x"}, ("1/1", "Terminating")),
        ({"phase": "Failed", "reason": "Evicted"}, {}, ("0/1", "Evicted")),
        ({"phase": "Pending", "initContainerStatuses": [running(ready=False)]}, {}, ("0/1", "Init:0/1")),
        ({"phase": "Pending", "initContainerStatuses": [ended(1, reason="Error")]}, {}, ("0/1", "Init:Error")),
    ],
)  # fmt: skip
def test_pod_status(status, metadata, expected):
    spec = {"containers": [{"name": "c"}]}
    if "initContainerStatuses" in status:
        spec["initContainers"] = [{"name": "c"}]
    row = cells("Pod", {"spec": spec, "status": status, "metadata": metadata})
    assert (row["Ready"], row["Status"]) == expected


def test_restarts_tell_when():
    last = {"terminated": {"finishedAt": "2020-01-01T00:00:00Z"}}
    status = {"phase": "Running", "containerStatuses": [running(restartCount=2, lastState=last)]}
    text = cells("Pod", {"spec": {"containers": [{"name": "c"}]}, "status": status})["Restarts"]
    assert text.startswith("2 (")
    assert text.endswith(" ago)")


def test_services():
    spec = {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.9",
        "selector": {"b": "2", "a": "1"},
        "ports": [{"port": 80, "nodePort": 30001, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    }
    row = cells("Service", {"spec": spec})
    assert row["External-IP"] == "<pending>"
    assert row["Port(s)"] == "80:30001/TCP,53/UDP"
    assert row["Selector"] == "a=1,b=2"
    external = {"type": "ExternalName", "externalName": "example.com"}
    assert cells("Service", {"spec": external})["External-IP"] == "example.com"


def test_policies_show_their_selector():
    rules = [{"key": "a", "operator": "NotIn", "values": ["x", "y"]}, {"key": "c", "operator": "Exists"}]
    selector = {"matchLabels": {"b": "1"}, "matchExpressions": rules}
    assert (
        cells("NetworkPolicy", {"spec": {"podSelector": selector}})["Pod-Selector"] == "a notin (x,y),b=1,c"
    )
    assert cells("NetworkPolicy", {"spec": {"podSelector": {}}})["Pod-Selector"] == "<none>"


def test_nodes():
    conditions = [{"type": "Ready", "status": "True"}]
    addresses = [{"type": "InternalIP", "address": "172.30.0.1"}]
    labels = {"node-role.kubernetes.io/control-plane": ""}
    row = cells(
        "Node",
        {
            "metadata": {"labels": labels},
            "spec": {"unschedulable": True},
            "status": {"conditions": conditions, "addresses": addresses},
        },
    )
    assert row["Status"] == "Ready,SchedulingDisabled"
    assert (row["Roles"], row["Internal-IP"]) == ("control-plane", "172.30.0.1")


def test_endpoint_slices():
    endpoints = [{"addresses": [f"10.244.0.{n}"]} for n in range(5)]
    row = cells("EndpointSlice", {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints})
    assert row["Ports"] == "80"
    assert row["Endpoints"] == "10.244.0.0,10.244.0.1,10.244.0.2 + 2 more..."
    assert cells("EndpointSlice", {})["Endpoints"] == "<unset>"


def test_events():
    event = {
        "type": "Warning",
        "reason": "R",
        "message": "m",
        "involvedObject": {"kind": "Pod", "name": "web"},
    }
    row = cells("Event", {**event, "source": {"component": "kubelet", "host": "n"}, "count": 3})
    assert (row["Object"], row["Source"], row["Count"]) == ("pod/web", "kubelet, n", 3)
