"""A lab that crashed comes back with ``stockade up``: the same objects, addresses, credentials and rules; or says why not."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from stockade.lab.paths import is_running, wait_unlocked
from stockade.lab.preflight import missing_requirement
from stockade.lab.processes import first_process

from .conftest import NEW_KUBECTL, Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {run: closed}}, policyTypes: [Ingress]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: steps}
spec:
  restartPolicy: OnFailure
  initContainers: [{name: first, image: alpine, command: [sh, -c, "echo init"]}]
  containers:
  - {name: done, image: alpine, command: [sh, -c, "echo over"]}
  - {name: runs, image: alpine, command: [sh, -c, "echo started; sleep 3600"]}
"""


def crash(lab) -> None:
    os.kill(first_process(lab.paths), signal.SIGKILL)
    assert wait_unlocked(lab.paths, 5)


def up(lab, *options: str):
    return lab.stockade("up", "--name", lab.name, *options)


def statuses(lab, pod: str) -> dict[str, dict]:
    status = lab.get("pod", pod)["status"]
    held = [*status["containerStatuses"], *status.get("initContainerStatuses", [])]
    return {entry["name"]: entry for entry in held}


def _by_name(items: dict) -> dict[str, dict]:
    return {item["metadata"]["name"]: item for item in items["items"]}


def eventually(holds) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "not within 20 s"
        time.sleep(0.1)


def test_a_crash_and_back(lab) -> None:
    kubeconfig = lab.paths.kubeconfig.read_text()
    open_ip = lab.run_pod("open", image="nginx")
    closed_ip = lab.run_pod("closed", image="nginx")
    lab.run_pod("client", command=("sleep", "3600"))
    lab.apply(DENY)
    lab.apply(POD)
    lab.kubectl("run", "once", "--image=alpine", "--restart=Never", "--", "sleep", "3600")
    lab.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    lab.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    eventually(lambda: "running" in statuses(lab, "steps")["runs"]["state"])
    eventually(lambda: lab.get("pod", "steps")["status"]["containerStatuses"][0]["state"].get("terminated"))
    lab.kubectl("expose", "deployment/web", "--port=80")
    before = {kind: lab.get(kind) for kind in ("pods", "services", "networkpolicies", "deployments")}

    crash(lab)
    status = lab.stockade("status", "--name", lab.name)
    assert status.stdout.splitlines()[1] == "state:      crashed; restore it with stockade up"
    done = up(lab)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"lab '{lab.name}' is restored in ")
    assert lab.paths.kubeconfig.read_text() == kubeconfig

    lab.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    lab.kubectl("wait", "--for=condition=Ready", "pod/open", "pod/closed", "pod/client", "--timeout=20s")
    for kind, held in before.items():
        now = _by_name(lab.get(kind))
        assert {i["metadata"]["uid"] for i in now.values()} == {i["metadata"]["uid"] for i in held["items"]}
        for item in held["items"]:
            assert now[item["metadata"]["name"]]["spec"] == item["spec"]
        if kind == "pods":
            ips = [
                {name: pod["status"].get("podIPs") for name, pod in by.items()}
                for by in (now, _by_name(held))
            ]
            assert ips[0] == ips[1]
    revisions = [int(item["metadata"]["resourceVersion"]) for item in before["pods"]["items"]]
    assert int(lab.get("pod", "open")["metadata"]["resourceVersion"]) > max(revisions)
    again = statuses(lab, "open")["open"]
    assert (again["restartCount"], again["lastState"]["terminated"]["reason"]) == (1, "Unknown")
    assert lab.get("pod", "once")["status"]["phase"] == "Failed", "restartPolicy Never"
    eventually(lambda: "running" in statuses(lab, "steps")["runs"]["state"])
    steps = statuses(lab, "steps")
    assert [steps[name]["restartCount"] for name in ("first", "done", "runs")] == [1, 0, 1]
    assert lab.kubectl("logs", "steps", "-c", "done") == "over\n"
    assert lab.kubectl("logs", "steps", "-c", "runs", "--previous") == "started\n"

    def fetch(host: str) -> int:
        return lab.try_kubectl(
            "exec", "client", "--", "wget", "-qO-", "--timeout=2", f"http://{host}"
        ).returncode

    eventually(lambda: fetch(open_ip) == 0)
    assert fetch(closed_ip) != 0, "the policy is enforced again"
    eventually(lambda: fetch("web") == 0)
    new_ip = lab.run_pod("new", image="nginx")
    taken = [pod["status"].get("podIP") for pod in before["pods"]["items"]]
    assert new_ip not in taken
    lab.kubectl("delete", "pod", "steps", "open", "once", "--grace-period=0", "--force")


def test_two_nodes_one_of_them_cut(two_nodes) -> None:
    lab = two_nodes
    far = f"{lab.name}-node-2"
    lab.kubectl("annotate", "node", far, "stockade.dev/link=cut")
    crash(lab)
    mismatch = up(lab, "--nodes", "3")
    assert mismatch.returncode == 2
    assert mismatch.stderr == (
        f"stockade: the objects of lab '{lab.name}' are of a lab with 2 nodes; restore it with: "
        f"stockade up --name {lab.name}; or start anew, without them: stockade up --name {lab.name} --fresh\n"
    )
    done = up(lab, "--nodes", "2")
    assert done.returncode == 0, done.stderr
    lab.kubectl("wait", "--for=condition=Ready=false", f"node/{far}", "--timeout=10s")
    lab.kubectl("annotate", "node", far, "stockade.dev/link-")
    lab.kubectl("wait", "--for=condition=Ready", f"node/{far}", "--timeout=20s")


def test_a_database_that_cannot_be_used_and_a_fresh_start(lab) -> None:
    lab.kubectl("create", "configmap", "mine")
    crash(lab)
    way_out = f"; start anew, without its objects: stockade up --name {lab.name} --fresh\n"
    held = lab.paths.database.read_bytes()
    log = lab.paths.database.with_name("objects.db-wal")
    kept = log.read_bytes()
    for damaged in (b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 9000):
        lab.paths.database.write_bytes(damaged)
        log.unlink(missing_ok=True)
        refused = up(lab)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert refused.stderr.endswith(way_out)
        assert "Traceback" not in refused.stderr + lab.paths.log.read_text()
    lab.paths.database.write_bytes(held)
    log.write_bytes(kept)
    db = sqlite3.connect(lab.paths.database)
    db.execute("PRAGMA user_version = 99")
    db.close()
    later = up(lab)
    assert "was written by a later version of Stockade (format 99" in later.stderr
    assert later.stderr.endswith(way_out)
    lab.paths.settings.write_text("{")
    assert up(lab).stderr.endswith(way_out)
    lab.paths.settings.unlink()
    assert up(lab).stderr.endswith(way_out)
    fresh = up(lab, "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert " is ready in " in fresh.stderr
    assert "mine" not in lab.kubectl("get", "configmaps")


def test_down_after_a_crash_removes_everything(lab) -> None:
    crash(lab)
    assert lab.paths.database.exists()
    assert lab.stockade("down", "--name", lab.name).returncode == 0
    labs = lab.paths.directory.parent
    assert [*labs.iterdir(), *lab.paths.starting.parent.iterdir()] == []
    assert lab.stockade("up", "--name", lab.name).returncode == 0
    assert lab.try_kubectl("get", "nodes").returncode == 0


def test_up_itself_is_killed(tmp_path) -> None:
    """The lab that nobody waits for ends, quietly; what it had made is there for the next one."""
    if reason := missing_requirement():
        pytest.skip(reason)
    lab = Lab(f"killed-{os.getpid()}", tmp_path, NEW_KUBECTL)
    command = [sys.executable, "-m", "stockade.cli.main"]
    starting = subprocess.Popen([*command, "up", "--name", lab.name], env=lab.env, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: lab.paths.database.exists() and is_running(lab.paths))
        starting.kill()
        starting.wait()
        assert wait_unlocked(lab.paths, 20)
        assert "Traceback" not in lab.paths.log.read_text()
        assert up(lab).returncode == 0
    finally:
        starting.kill()
        lab.stockade("down", "--name", lab.name)


def test_a_process_nobody_wrote_down_is_found(lab) -> None:
    """The launcher was killed before it could say which process is the lab's first."""
    first = first_process(lab.paths)
    lab.paths.pid.unlink()
    assert first_process(lab.paths) == first
    assert lab.stockade("down", "--name", lab.name).returncode == 0
    shutil.rmtree(lab.paths.directory, ignore_errors=True)
