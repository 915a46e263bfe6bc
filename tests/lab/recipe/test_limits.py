"""resources.limits on this machine's cgroups, with real pods; and that none of it stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from stockade.lab.node.cgroups import read_record
from stockade.lab.node.limits import CONTROLLERS

from .test_restore import crash, eventually

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
SPIN = "while :; do :; done"


@pytest.fixture(scope="module")
def limited(shared_lab):
    """Cgroups are optional: where none may be written there is nothing to try."""
    if problem := read_record(shared_lab.paths.cgroups).problem:
        pytest.skip(problem)
    return shared_lab


def groups(lab) -> list[Path]:
    return [Path(name) for name in read_record(lab.paths.cgroups).directories]


def pod(lab, name: str, script: str, limits: dict[str, str]) -> dict:
    container = {
        "name": "c",
        "image": "alpine",
        "command": ["sh", "-c", script],
        "resources": {"limits": limits},
    }
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
    lab.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].image}", f"pod/{name}", "--timeout=20s")
    return lab.get("pod", name)


def test_who_takes_too_much_memory_is_killed(limited) -> None:
    pod(limited, "eater", "exec tail -c 200m /dev/zero", {"memory": "32Mi"})
    ended = lambda: limited.get("pod", "eater")["status"]["containerStatuses"][0]["state"].get("terminated")  # noqa: E731
    eventually(ended)
    assert (ended()["reason"], ended()["exitCode"]) == ("OOMKilled", 137)
    pod(limited, "killed", "kill -9 $$", {"memory": "32Mi"})
    eventually(lambda: limited.get("pod", "killed")["status"]["phase"] == "Failed")
    assert (
        limited.get("pod", "killed")["status"]["containerStatuses"][0]["state"]["terminated"]["reason"]
        == "Error"
    )


def test_a_pod_gets_no_more_cpu_than_its_limit_and_exec_counts(limited) -> None:
    made = pod(limited, "spinner", SPIN, {"cpu": "100m"})
    limited.kubectl("wait", "--for=condition=Ready", "pod/spinner", "--timeout=20s")
    inside = limited.kubectl("exec", "spinner", "--", "cat", "/proc/self/cgroup")
    assert made["metadata"]["uid"] not in inside, "the host's paths are not the pod's business"
    process = next(
        int(text)
        for each in groups(limited)
        for file in each.rglob("tasks" if (each / "tasks").exists() else "cgroup.procs")
        for text in file.read_text().split()
        if made["metadata"]["uid"] in str(file)
    )

    def used() -> float:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, started = used(), time.monotonic()
    time.sleep(1)
    assert (used() - before) / (time.monotonic() - started) < 0.3


def test_processes_of_a_pod_are_bounded(limited) -> None:
    uid = pod(limited, "bounded", "sleep 3600", {})["metadata"]["uid"]
    eventually(lambda: any(place.name == uid for each in groups(limited) for place in each.rglob(uid)))
    bounds = [
        (place / "pids.max").read_text()
        for each in groups(limited)
        for place in each.rglob(uid)
        if (place / "pids.max").exists()
    ]
    assert bounds == ["4096\n"]
    limited.kubectl("delete", "pod", "bounded", "--now")
    assert not any(place for each in groups(limited) for place in each.rglob(uid))


def test_nothing_stays_after_a_crash(limited) -> None:
    before = groups(limited)
    assert before
    assert "resources.limits hold" in limited.stockade("status", "--name", limited.name).stdout
    crash(limited)
    assert limited.stockade("up", "--name", limited.name).returncode == 0
    assert not any(each.exists() for each in before)
    after = groups(limited)
    assert all(each.is_dir() for each in after)
    crash(limited)
    assert limited.stockade("down", "--name", limited.name).returncode == 0
    assert not any(each.exists() for each in after)
    assert len(CONTROLLERS) >= len(after)
