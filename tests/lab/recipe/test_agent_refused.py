"""A kernel that refuses the agent for a while, as a person at a prompt sees it: status, Events, a pod that waits; and how it heals.

Root in the lab's own network namespace takes the table and owns it: every write of the agent is then answered "Operation not permitted".
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from stockade.lab.processes import first_process

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

TAKE = """
import asyncio, sys
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.operations import AddTable, Batch, DeleteTable
async def main():
    kernel = Netlink(own=True)
    await kernel.commit(Batch((AddTable(), DeleteTable(), AddTable()), 1, 1))
    print("taken" if kernel.owns else "cannot", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


@contextlib.contextmanager
def taken_table(lab) -> Iterator[None]:
    process = subprocess.Popen(
        ["nsenter", "-t", str(first_process(lab.paths)), "-n", sys.executable, "-c", TAKE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout.readline().strip() != "taken":
            pytest.skip("this kernel cannot keep an owned table")
        yield
    finally:
        process.communicate("")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def enforcing(lab):
    (node,) = json.loads(lab.stockade("status", "--name", lab.name, "-o", "json").stdout)["nodes"]
    return node.get("enforcing")


def node_events(lab, reason):
    selector = f"involvedObject.kind=Node,reason={reason}"
    return lab.get("events", "-n", "default", "--field-selector", selector)["items"]


def test_what_a_person_sees_while_the_kernel_refuses(lab) -> None:
    assert enforcing(lab)["ready_problem"] == ""
    with taken_table(lab):
        until(lambda: enforcing(lab)["troubles"])
        text = lab.stockade("status", "--name", lab.name).stdout
        assert "not up to date: " in text
        assert "Operation not permitted" in text
        lab.kubectl("run", "late", "--image=alpine", "--", "sleep", "100")
        (event,) = until(lambda: node_events(lab, "NetworkPolicyProgrammingFailed"))
        assert event["type"] == "Warning"
        until(lambda: "late" in lab.kubectl("get", "pods") and enforcing(lab)["failures"] >= 4)
        assert "ContainerCreating" in lab.kubectl("get", "pod", "late")
        assert len(node_events(lab, "NetworkPolicyProgrammingFailed")) == 1
    until(lambda: not enforcing(lab)["ready_problem"])
    lab.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")
    assert until(lambda: node_events(lab, "NetworkPolicyProgrammed"))[0]["type"] == "Normal"
