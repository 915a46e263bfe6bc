"""A real kernel that is not told what the agent wants to tell it: the old rules hold, it is visible, it heals, and nothing opens.

Once the ``nft`` program fails as a whole process, once single netlink transactions fail at every step.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil

import pytest

from stockade.agent.events import EventRecorder
from stockade.agent.gate import GateError
from stockade.agent.health import ask
from stockade.agent.node import Doors, NodeAgent, NodeSettings
from stockade.agent.programming import Target
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.testing.agent_process import (
    EVENTS,
    FOO,
    PODS,
    POLICIES,
    PORT,
    SECRET,
    Stream,
    egress,
    pod,
    setting,
)
from stockade.testing.failing import COMMIT, HOLDS, READ, FailingProgrammer, Failure, How

pytestmark = pytest.mark.kernel

LATE = "10.244.0.9"
FAILED, WORKS = "NetworkPolicyProgrammingFailed", "NetworkPolicyProgrammed"

SCRIPT = """#!/bin/sh
# The real nft, unless the file "broken" says how it fails.
how=$(cat "{broken}" 2>/dev/null)
writes() {{ [ "$1" = "-f" ]; }}
case "$how" in
  refuses) echo "Error: Could not process rule: No buffer space available" >&2; exit 1 ;;
  cannot-write) writes "$@" && {{ echo "Error: Operation not permitted" >&2; exit 1; }} ;;
  killed) kill -9 $$ ;;
  garbles) writes "$@" && {{ echo "Error: bad luck" >&2; exit 1; }}; echo "no JSON"; exit 0 ;;
  lies-about-failing) "{nft}" "$@"; echo "Error: timed out" >&2; exit 1 ;;
esac
exec "{nft}" "$@"
"""


@pytest.fixture
async def world(network, tmp_path):
    async with setting(network, tmp_path) as made:
        yield made


@pytest.mark.parametrize("how", ["refuses", "cannot-write", "killed", "garbles", "lies-about-failing"])
async def test_an_nft_that_fails_as_a_process(world, how):
    broken, directory = world.directory / "broken", world.directory / "bin"
    directory.mkdir()
    (directory / "nft").write_text(SCRIPT.format(broken=broken, nft=shutil.which("nft")))
    (directory / "nft").chmod(0o700)
    world.api.put(POLICIES, egress("one-port", ("UDP", PORT)))
    world.start("--backend", "nft", env={"PATH": f"{directory}:{os.environ['PATH']}"})
    await world.programmed("foo", FOO)
    stream = Stream(world.network)
    late = world.network
    late.add_pod("late", LATE)
    async with stream.running():
        broken.write_text(how)
        world.api.put(PODS, pod("late", LATE))
        # told after the first attempt, not after the last
        seen = await world.until_status(lambda status: status.troubles)
        assert seen.troubles[0].work == "programming"
        code, why = await world.page("/readyz")
        assert code == 503
        assert "those in force are the old ones" in why
        assert "stockade_programming_failing 1.0" in (await world.page("/metrics"))[1]
        await world.until_status(lambda status: status.failures >= 2)
        await world.until(lambda: world.events(FAILED))
        if how != "lies-about-failing":  # there the rules are in force, and only the agent does not know
            late.open("late").sendto(b"x", ("10.244.0.6", PORT + 1))
        with pytest.raises(GateError, match="timed out"):
            await world.programmed("late", LATE, 0.3)
        broken.unlink()
        await world.programmed("late", LATE)
        await world.until(lambda: world.events(WORKS))
    assert stream.received(SECRET) == 0
    assert stream.received(PORT) == stream.sent
    assert (await world.page("/readyz"))[0] == 200
    assert "stockade_programming_failing 0.0" in (await world.page("/metrics"))[1]
    (event,) = world.events(FAILED)
    assert event["type"] == "Warning"
    assert event["involvedObject"]["kind"] == "Node"
    assert [event["type"] for event in world.events(WORKS)] == ["Normal"]


async def test_netlink_that_the_kernel_refuses(world):
    """Two agents at once, as when a DaemonSet is rolled badly: the table is the first one's. When that one is gone, even killed, the
    other takes over by itself; until then it says why it cannot, and the first one's rules hold."""
    world.api.put(POLICIES, egress("one-port", ("UDP", PORT)))
    first = world.start("--own-table")
    await world.programmed("foo", FOO)
    if "owned" not in (await world.status()).backend:
        pytest.skip("this kernel cannot keep an owned table")
    stream = Stream(world.network)
    async with stream.running():
        second = str(world.directory / "second")
        world.start("--gate", f"{second}.gate", "--health", second)
        async with asyncio.timeout(30):
            while not ((found := await ask(second, 5)) and found.troubles):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert "Operation not permitted" in found.ready_problem
        await world.until(lambda: world.events(FAILED))
        first.kill()
        await asyncio.to_thread(first.wait)
        async with asyncio.timeout(30):
            while (await ask(second, 5)).ready_problem:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await world.until(lambda: world.events(WORKS))
        await asyncio.sleep(0.1)
    assert stream.received(SECRET) == 0
    assert stream.received(PORT) == stream.sent


@contextlib.asynccontextmanager
async def agent_here(world, programmer):
    """The agent in this process, with ``programmer`` between it and the kernel."""
    async with ApiClient(load(str(world.directory / "config"), None)) as api:
        plane = Dataplane(programmer)
        agent = NodeAgent(
            NodeSettings(
                target=Target(node="node-1"), gate=str(world.directory / "gate"), verify_seconds=0.2
            ),
            api,
            Doors(dataplane=plane),
            recorder=EventRecorder(api, "node-1", interval=0.05),
        )
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.wait({task})


REFUSED = [[Failure(COMMIT, how, nth, 2)] for how in (How.BEFORE, How.AFTER) for nth in range(1, 5)]
OTHERS = [
    [Failure(COMMIT, How.INTERFERENCE, 2, 2)],
    [Failure(COMMIT, How.GARBAGE, 2)],
    [Failure(READ, How.GARBLED, 1), Failure(COMMIT, How.BEFORE, 2)],
    [Failure(READ, How.BEFORE, 1, 2), Failure(COMMIT, How.AFTER, 1)],
    [Failure(HOLDS, How.BEFORE, 0, 2)],
    [Failure(HOLDS, How.GARBLED, 1), Failure(COMMIT, How.BEFORE, 3)],
]
CASES = [(Netlink, plan) for plan in REFUSED + OTHERS] + [(Nft, plan) for plan in OTHERS]


def named(value):
    if isinstance(value, list):
        return "-".join(f"{each.call}{each.nth}{each.how.name}" for each in value)
    return value.__name__


@pytest.mark.parametrize(("backend", "plan"), CASES, ids=named)
async def test_a_transaction_that_fails_leaks_nothing_and_loses_nothing(world, backend, plan):
    """What is denied all along stays denied, what is allowed all along passes, and the new pod is fenced until the gate opens."""
    programmer = FailingProgrammer(backend(), *plan)
    world.api.put(POLICIES, egress("one-port", ("UDP", PORT)))
    async with agent_here(world, programmer) as agent:
        await world.programmed("foo", FOO)
        stream = Stream(world.network)
        fenced = world.network.listen("web", PORT + 1, 2)
        fenced.setblocking(False)
        world.network.add_pod("late", LATE)
        late = world.network.open("late")
        async with stream.running():
            world.api.put(POLICIES, egress("another", ("TCP", PORT)))
            await asyncio.sleep(0.05)
            world.api.put(PODS, pod("other", "10.244.0.10"))
            await asyncio.sleep(0.05)
            world.api.put(POLICIES, egress("another"))
            await world.programmed("other", "10.244.0.10")
            for _ in range(20):
                late.sendto(b"x", ("10.244.0.6", PORT + 1))
            await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                fenced.recv(64)
            world.api.put(PODS, pod("late", LATE))
            await world.programmed("late", LATE)
            await world.until(lambda: not agent.faults.current and programmer.failed >= len(plan))
        assert stream.received(SECRET) == 0
        assert stream.received(PORT) == stream.sent
        late.sendto(b"x", ("10.244.0.6", PORT + 1))
        await world.until(lambda: _arrived(fenced))
        await at_rest(agent)
        plane = agent._doors.dataplane
        assert await Nft().holds(plane.applied, plane.generation)  # also of what netlink wrote
    assert all(event["reason"] != "NetworkPolicyDenied" for event in world.api.objects[EVENTS].values())


async def at_rest(agent):
    async with asyncio.timeout(20):
        while agent._doors.dataplane.applied is None or agent.faults.current:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _arrived(receiver):
    with contextlib.suppress(BlockingIOError):
        return receiver.recv(64)
