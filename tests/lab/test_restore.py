"""What a crash means for the objects: processes are gone, identities stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.bootstrap import NAMESPACES, bootstrap
from stockade.lab.controllers.objects import condition, is_ready
from stockade.lab.restore import restore
from stockade.lab.topology import plan

NODES = plan("lab", 2).nodes
SINCE = "2026-01-01T00:00:00Z"
RUNNING = {"running": {"startedAt": SINCE}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": SINCE, "finishedAt": SINCE}}


@pytest.fixture
def store() -> ObjectStore:
    made = ObjectStore(Storage())
    bootstrap(made, NODES)
    return made


def a_pod(store: ObjectStore, name: str, state: dict, policy: str = "Always", **status: object) -> None:
    spec = {
        "containers": [{"name": "c", "image": "alpine"}],
        "restartPolicy": policy,
        "nodeName": "lab-node-1",
    }
    store.create("pods", "default", {"metadata": {"name": name}, "spec": spec})
    entry = {
        "name": "c",
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 2,
        "containerID": "stockade://1",
    }
    held = {
        "phase": "Running",
        "startTime": SINCE,
        "podIPs": [{"ip": "10.244.0.9"}],
        "hostIPs": [{"ip": "172.30.0.1"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": SINCE}],
        "containerStatuses": [entry],
        **status,
    }
    store.mutate("pods", "default", name, lambda pod: pod.update(status=held))


def after(store: ObjectStore, tmp_path: Path, name: str) -> dict:
    restore(store, NODES, tmp_path)
    return store.get("pods", "default", name)


def test_what_ran_has_ended_and_is_not_ready(store, tmp_path) -> None:
    a_pod(store, "web", RUNNING)
    pod = after(store, tmp_path, "web")
    entry = pod["status"]["containerStatuses"][0]
    ended = entry["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["startedAt"]) == (255, "Unknown", SINCE)
    assert (entry["ready"], entry["restartCount"]) == (False, 2)
    assert (pod["status"]["phase"], pod["status"]["podIP"]) == ("Running", "10.244.0.9")
    assert not is_ready(pod)
    assert condition(pod, "PodReadyToStartContainers")["status"] == "False"
    assert pod["status"]["startTime"] == SINCE


def test_never_means_never(store, tmp_path) -> None:
    a_pod(store, "once", RUNNING, policy="Never")
    assert after(store, tmp_path, "once")["status"]["phase"] == "Failed"


def test_what_had_finished_stays_as_it_was(store, tmp_path) -> None:
    a_pod(store, "done", DONE, policy="Never", phase="Succeeded")
    before = store.get("pods", "default", "done")
    assert after(store, tmp_path, "done") == before


def test_a_pod_that_never_started_is_left_alone(store, tmp_path) -> None:
    store.create(
        "pods",
        "default",
        {"metadata": {"name": "new"}, "spec": {"containers": [{"name": "c", "image": "alpine"}]}},
    )
    before = store.get("pods", "default", "new")
    assert after(store, tmp_path, "new") == before


def test_nodes_wait_for_their_agents_and_keep_what_users_gave_them(store, tmp_path) -> None:
    def cordon(node: dict) -> None:
        node["spec"]["unschedulable"] = True
        node["metadata"]["labels"]["disk"] = "ssd"
        for entry in node["status"]["conditions"]:
            entry["status"] = "True"

    uid = store.mutate("nodes", "", "lab-node-1", cordon)["metadata"]["uid"]
    store.remove("nodes", "", "lab-node-2")
    restore(store, NODES, tmp_path)
    node = store.get("nodes", "", "lab-node-1")
    assert not is_ready(node)
    assert (node["metadata"]["uid"], node["metadata"]["labels"]["disk"]) == (uid, "ssd")
    assert node["spec"]["unschedulable"]
    assert store.find("nodes", "", "lab-node-2"), "registered again"


def test_the_users_deletions_stay_except_what_every_cluster_has(store, tmp_path) -> None:
    store.remove("services", "kube-system", "kube-dns")
    store.remove("services", "default", "kubernetes")
    store.remove("namespaces", "", "kube-public")
    restore(store, NODES, tmp_path)
    assert store.find("services", "kube-system", "kube-dns") is None
    assert store.find("services", "default", "kubernetes")
    assert {ns["metadata"]["name"] for ns in store.list("namespaces")} == set(NAMESPACES)


def test_logs_of_pods_that_are_gone_go(store, tmp_path) -> None:
    a_pod(store, "web", RUNNING)
    uid = store.get("pods", "default", "web")["metadata"]["uid"]
    for name in (f"default_web_{uid}", "default_old_123"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c.0.log").write_text("")
    restore(store, NODES, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"default_web_{uid}"]
