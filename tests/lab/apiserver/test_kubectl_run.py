"""``kubectl run -i --rm`` and friends from end to end: the API server with plain processes in place of containers."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stockade.lab.apiserver.registry import ApiError


async def kubelet(server):
    """Binds and starts what is created, reports its end, lets go of what is deleted."""
    async with asyncio.TaskGroup() as group:
        async for change in server.store.watch("pods"):
            pod = change.object
            if change.type == "ADDED":
                group.create_task(run_pod(server, pod))
            elif change.type == "MODIFIED" and pod["metadata"].get("deletionTimestamp"):
                server.store.remove("pods", "default", pod["metadata"]["name"], pod["metadata"]["uid"])


async def run_pod(server, pod):
    name, uid, container = pod["metadata"]["name"], pod["metadata"]["uid"], pod["spec"]["containers"][0]
    server.store.mutate("pods", "default", name, lambda obj: obj["spec"].update(nodeName="node-1"))
    argv = [*container.get("command", []), *container.get("args", [])]
    process = await server.runtime.start(
        uid, container["name"], argv, stdin=container.get("stdin", False), tty=container.get("tty", False)
    )
    report(server, pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    code = await process.wait()
    phase = "Failed" if code else "Succeeded"
    report(server, pod, phase, {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}})


def report(server, pod, phase, state):
    statuses = [{"name": pod["spec"]["containers"][0]["name"], "ready": phase == "Running", "state": state}]
    conditions = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
    status = {"phase": phase, "conditions": conditions, "containerStatuses": statuses}
    with contextlib.suppress(ApiError):
        server.store.mutate(
            "pods", "default", pod["metadata"]["name"], lambda obj: obj["status"].update(status), "status"
        )


@pytest.fixture(autouse=True)
async def node(server):
    task = asyncio.create_task(kubelet(server))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await server.runtime.stop()


async def test_run_interactively_and_remove(kubectl, store):
    command = ("run", "test", "--rm", "--restart=Never", "--image=alpine", "-i", "--", "cat")
    result = await kubectl(*command, stdin="hello\n")
    assert result.code == 0, result.err
    assert "hello\n" in result.out
    assert 'pod "test" deleted' in result.out
    assert store.list("pods") == []


async def test_the_exit_code_comes_back(kubectl, store):
    script = "read line; exit 3"
    result = await kubectl(
        "run",
        "test",
        "--rm",
        "--restart=Never",
        "--image=alpine",
        "-i",
        "--",
        "sh",
        "-c",
        script,
        stdin="x\n",
    )
    assert result.code == 3, result.err
    assert store.list("pods") == []


async def test_exec_and_logs(kubectl):
    script = "echo ready; exec sleep 60"
    await kubectl("run", "web", "--image=alpine", "--", "sh", "-c", script)
    assert (await kubectl("wait", "--for=condition=ready", "pod/web", "--timeout=10s")).code == 0
    assert (await kubectl("exec", "web", "--", "echo", "hi")).out == "hi\n"
    assert (await kubectl("logs", "web")).out == "ready\n"
    assert (await kubectl("delete", "pod", "web", "--timeout=10s")).code == 0
