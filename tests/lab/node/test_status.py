from __future__ import annotations

import pytest

from stockade.lab.node import status


def entry(
    name: str = "web", *, state: dict | None = None, ready: bool = False, last: dict | None = None
) -> dict:
    return {
        "name": name,
        "state": state or status.waiting("ContainerCreating"),
        "lastState": last or {},
        "ready": ready,
    }


RUNNING = status.running("2026-01-01T00:00:00Z")
OK = status.terminated(0, "2026-01-01T00:00:00Z", "id")
BAD = status.terminated(3, "2026-01-01T00:00:00Z", "id")


@pytest.mark.parametrize(
    ("states", "policy", "phase"),
    [
        ([None], "Always", "Pending"),
        ([RUNNING], "Always", "Running"),
        ([RUNNING, None], "Always", "Running"),
        ([OK], "Always", "Running"),
        ([OK], "OnFailure", "Succeeded"),
        ([BAD], "OnFailure", "Running"),
        ([BAD], "Never", "Failed"),
        ([OK, BAD], "Never", "Failed"),
        ([OK, OK], "Never", "Succeeded"),
        ([OK, RUNNING], "Never", "Running"),
    ],
)
def test_phase(states, policy, phase) -> None:
    assert status.phase([entry(state=state) for state in states], [], policy) == phase


def test_failed_init_container_fails_the_pod() -> None:
    assert status.phase([entry()], [entry("init", state=BAD)], "Never") == "Failed"
    assert status.phase([entry()], [entry("init", state=BAD)], "Always") == "Pending"


def test_terminated_names_its_reason() -> None:
    assert OK["terminated"]["reason"] == "Completed"
    assert BAD["terminated"]["reason"] == "Error"


def test_conditions_keep_their_time_of_transition() -> None:
    old = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Own", "status": "True"},
    ]
    pod = {"metadata": {}, "spec": {}, "status": {"conditions": old, "custom": 1}}
    arguments = {
        "pod_ips": ["10.0.0.2", "fd00::2"],
        "host_ips": ["172.30.0.1"],
        "has_network": True,
        "start_time": "t",
    }
    result = status.pod_status(pod, [entry(state=RUNNING, ready=True)], [], **arguments)
    by_type = {item["type"]: item for item in result["conditions"]}
    assert by_type["Ready"]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert by_type["Own"]["status"] == "True"
    assert result["custom"] == 1
    assert result["podIP"] == "10.0.0.2"
    assert result["podIPs"] == [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]
    assert result["hostIPs"] == [{"ip": "172.30.0.1"}]
    result = status.pod_status(pod, [entry("a"), entry("b", state=RUNNING, ready=True)], [], **arguments)
    ready = next(item for item in result["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [a]"
    assert ready["lastTransitionTime"] != "2020-01-01T00:00:00Z"


def test_finished_pod_is_not_ready() -> None:
    pod = {"metadata": {}, "spec": {"restartPolicy": "Never"}, "status": {}}
    result = status.pod_status(
        pod, [entry(state=OK)], [], pod_ips=(), host_ips=("h",), has_network=False, start_time="t"
    )
    ready = next(item for item in result["conditions"] if item["type"] == "Ready")
    assert (result["phase"], ready["status"], ready["reason"]) == ("Succeeded", "False", "PodCompleted")
    assert "podIP" not in result
