"""kubectl with StatefulSets, DaemonSets, Jobs and ReplicationControllers: get, rollout, scale, delete; and every ``kubectl create``."""

from __future__ import annotations

import asyncio
import re

import pytest

from stockade.lab.apiserver.registry import ApiError

from .test_kubectl_controllers import cluster

__all__ = ["cluster"]  # a fixture: the controllers, and a kubelet

TEMPLATE = """
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers: [{name: c, image: "nginx:1", ports: [{containerPort: 80}]}]
"""


def manifest(kind, name, spec=""):
    head = f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"
    return head + spec + TEMPLATE.replace("NAME", name).lstrip("\n")


def table(text):
    return [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]


async def ok(kubectl, *arguments, stdin=""):
    result = await kubectl(*arguments, stdin=stdin)
    assert result.code == 0, (arguments, result)
    return result.out


async def test_a_stateful_set(kubectl, store):
    await ok(
        kubectl, "apply", "-f", "-", stdin=manifest("StatefulSet", "db", "  replicas: 2\n  serviceName: db\n")
    )
    done = await ok(kubectl, "rollout", "status", "sts/db", "--timeout=20s")
    assert "complete" in done or "up-to-date" in done
    heads, row = table(await ok(kubectl, "get", "sts", "-o", "wide"))
    assert heads == ["NAME", "READY", "AGE", "CONTAINERS", "IMAGES"]
    assert (row[:2], row[3:]) == (["db", "2/2"], ["c", "nginx:1"])
    await ok(kubectl, "set", "image", "sts/db", "c=nginx:2")
    await ok(kubectl, "rollout", "status", "sts/db", "--timeout=20s")
    assert {pod["spec"]["containers"][0]["image"] for pod in store.list("pods")} == {"nginx:2"}
    assert len(table(await ok(kubectl, "rollout", "history", "sts/db"))) == 4
    await ok(kubectl, "rollout", "undo", "sts/db")
    await ok(kubectl, "rollout", "status", "sts/db", "--timeout=20s")
    assert {pod["spec"]["containers"][0]["image"] for pod in store.list("pods")} == {"nginx:1"}
    await ok(kubectl, "rollout", "restart", "sts/db")
    await ok(kubectl, "scale", "sts/db", "--replicas=1")
    await ok(kubectl, "rollout", "status", "sts/db", "--timeout=20s")
    assert "db-0" in await ok(kubectl, "describe", "sts", "db")
    refused = await kubectl("patch", "sts", "db", "-p", '{"spec":{"serviceName":"x"}}')
    assert "updates to statefulset spec for fields other than" in refused.err


async def test_a_daemon_set(kubectl, store):
    await ok(kubectl, "apply", "-f", "-", stdin=manifest("DaemonSet", "agent"))
    await ok(kubectl, "rollout", "status", "ds/agent", "--timeout=20s")
    heads, row = table(await ok(kubectl, "get", "ds"))
    names = ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"]
    assert heads == names
    assert row[:-1] == ["agent", "1", "1", "1", "1", "1", "<none>"]
    await ok(kubectl, "set", "image", "ds/agent", "c=nginx:2")
    await ok(kubectl, "rollout", "status", "ds/agent", "--timeout=20s")
    await ok(kubectl, "rollout", "undo", "ds/agent")
    await ok(kubectl, "rollout", "status", "ds/agent", "--timeout=20s")
    [pod] = store.list("pods")
    assert pod["spec"]["containers"][0]["image"] == "nginx:1"
    how = ("--cascade=true",) if kubectl.old else ("--cascade=foreground",)
    await ok(kubectl, "delete", "ds", "agent", *how, "--timeout=20s")
    async with asyncio.timeout(10):
        while store.list("pods") or store.list("controllerrevisions.apps"):  # noqa: ASYNC110 - two kinds
            await asyncio.sleep(0.02)


async def finish(store, name):
    """The pod of the job ends well."""
    async with asyncio.timeout(10):
        while True:
            for pod in store.list("pods"):
                if pod["metadata"]["labels"].get("job-name") == name and pod["status"]["phase"] == "Running":
                    store.mutate(
                        "pods",
                        "default",
                        pod["metadata"]["name"],
                        lambda p: p["status"].update(phase="Succeeded"),
                        "status",
                    )
                    return
            await asyncio.sleep(0.02)


async def test_a_job(kubectl, store):
    await ok(kubectl, "create", "job", "work", "--image=busybox", "--", "true")
    heads, row = table(await ok(kubectl, "get", "jobs"))
    assert heads == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert row[:3] == ["work", "Running", "0/1"]
    await finish(store, "work")
    await ok(kubectl, "wait", "--for=condition=complete", "job/work", "--timeout=10s")
    assert table(await ok(kubectl, "get", "jobs"))[1][:3] == ["work", "Complete", "1/1"]
    assert "1 Succeeded" in await ok(kubectl, "describe", "job", "work")
    fixed = await kubectl("patch", "job", "work", "-p", '{"spec":{"completions":3}}')
    assert "field is immutable" in fixed.err
    policy = {"rules": [{"succeededCount": 1}]}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}
    with pytest.raises(ApiError, match="the lab's controller does not know this"):
        store.create(
            "jobs.batch",
            "default",
            {"metadata": {"name": "x"}, "spec": {"successPolicy": policy, "template": template}},
        )
    await ok(kubectl, "delete", "job", "work", "--timeout=10s")
    async with asyncio.timeout(10):
        while store.list("pods"):  # noqa: ASYNC110 - the garbage collector ends them
            await asyncio.sleep(0.02)


async def test_a_replication_controller(kubectl, store):
    body = """
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: c, image: nginx}]}
"""
    await ok(kubectl, "apply", "-f", "-", stdin=body)
    await ok(kubectl, "scale", "rc/old", "--replicas=3")
    async with asyncio.timeout(10):
        while store.get("replicationcontrollers", "default", "old")["status"].get("readyReplicas") != 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    heads, row = table(await ok(kubectl, "get", "rc", "-o", "wide"))
    assert heads == ["NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert row[:4] + row[5:] == ["old", "3", "3", "3", "c", "nginx", "app=old"]
    await ok(kubectl, "expose", "rc", "old", "--port=80")


GENERATORS = [
    ("configmap", "a", "--from-literal=x=y"),
    ("secret", "generic", "a", "--from-literal=x=y"),
    (
        "secret",
        "docker-registry",
        "b",
        "--docker-username=u",
        "--docker-password=p",
        "--docker-server=s.example",
    ),
    ("serviceaccount", "a"),
    ("namespace", "a"),
    ("deployment", "a", "--image=nginx"),
    ("job", "a", "--image=busybox"),
    ("service", "clusterip", "a", "--tcp=80:8080"),
    ("service", "nodeport", "b", "--tcp=80"),
    ("service", "loadbalancer", "c", "--tcp=80"),
    ("service", "externalname", "d", "--external-name=x.example.com"),
]


@pytest.mark.parametrize("words", GENERATORS, ids=" ".join)
async def test_create(kubectl, words):
    assert "created (server dry run)" in await ok(kubectl, "create", *words, "--dry-run=server")
    assert " created" in await ok(kubectl, "create", *words)
    again = await kubectl("create", *words)
    assert "AlreadyExists" in again.err or "already exists" in again.err


@pytest.mark.parametrize(
    "resource",
    ["statefulsets", "daemonsets", "jobs", "replicationcontrollers", "customresourcedefinitions", "leases"],
)
async def test_explain(kubectl, resource):
    found = await ok(kubectl, "explain", f"{resource}.spec")
    assert "FIELDS:" in found


async def test_cascade_orphan_and_foreground(kubectl, store):
    for name in ("a", "b"):
        await ok(kubectl, "create", "deployment", name, "--image=nginx")
        await ok(kubectl, "rollout", "status", f"deployment/{name}", "--timeout=20s")
    how = "--cascade=false" if kubectl.old else "--cascade=orphan"
    await ok(kubectl, "delete", "deployment", "a", how)
    body = '{"propagationPolicy":"Foreground","kind":"DeleteOptions","apiVersion":"v1"}'
    if kubectl.old:
        store.delete("deployments.apps", "default", "b", foreground=True)
    else:
        await ok(kubectl, "delete", "deployment", "b", "--cascade=foreground", "--timeout=20s")
    del body
    async with asyncio.timeout(10):
        while len(store.list("replicasets.apps")) > 1 or len(store.list("pods")) > 1:  # noqa: ASYNC110 - two kinds
            await asyncio.sleep(0.02)
    deleted = [
        (resource, record.object["metadata"]["name"][0])
        for resource in ("deployments.apps", "replicasets.apps", "pods")
        for record in store.history(resource).since(0)
        if record.type == "DELETED" and record.object["metadata"]["name"].startswith("b")
    ]
    revisions = {
        resource: record.revision
        for resource in ("deployments.apps", "replicasets.apps", "pods")
        for record in store.history(resource).since(0)
        if record.type == "DELETED" and record.object["metadata"]["name"].startswith("b")
    }
    assert len(deleted) == 3
    assert revisions["pods"] < revisions["replicasets.apps"] < revisions["deployments.apps"]
    assert [pod["metadata"]["name"][0] for pod in store.list("pods")] == ["a"]


async def test_server_side_apply_and_its_conflicts(kubectl, store):
    body = manifest("Deployment", "web", "  replicas: 2\n")
    force = "--force-conflicts"
    await ok(kubectl, "apply", "-f", "-", stdin=body)
    await ok(kubectl, "apply", "--server-side", force, "-f", "-", stdin=body)
    await ok(kubectl, "scale", "deployment/web", "--replicas=3")
    refused = await kubectl("apply", "--server-side", "-f", "-", stdin=body)
    assert refused.code == 1
    assert "conflict with" in refused.err, refused
    assert ".spec.replicas" in refused.err
    await ok(kubectl, "apply", "--server-side", force, "-f", "-", stdin=body)
    assert store.get("deployments.apps", "default", "web")["spec"]["replicas"] == 2
    again = await ok(
        kubectl, "apply", "--server-side", "-f", "-", stdin=body.replace("replicas: 2\n", "replicas: 1\n")
    )
    assert "serverside-applied" in again
