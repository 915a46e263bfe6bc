"""Others at our table, on a real kernel, while packets flow: noticed, repaired, and told who it was; others at their own tables: nothing."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from pathlib import Path

import pytest

from stockade.testing.agent_process import FOO, POLICIES, PORT, SECRET, Stream, egress, setting

pytestmark = pytest.mark.kernel

CHANGED = "NetworkPolicyTableChanged"
TAMPERINGS = {
    "flush": "flush ruleset",
    "table": "delete table inet stockade",
    "element": f"delete element inet stockade id4 {{ {FOO} }}",
    "accept": "insert rule inet stockade fwd_hook accept",
    "stranger": "add element inet stockade self4 { 10.244.0.5 . 10.244.0.6 }",
}
BACKENDS = [("--backend", "netlink"), ("--backend", "nft")]


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def tried(text):
    """What nft says to it."""
    return subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False).stderr


@pytest.fixture
async def world(network, tmp_path):
    async with setting(network, tmp_path) as made:
        made.api.put(POLICIES, egress("one-port", ("UDP", PORT)))
        yield made


@pytest.mark.parametrize("options", BACKENDS, ids=lambda options: options[1])
@pytest.mark.parametrize("what", TAMPERINGS)
async def test_tampering_is_repaired_while_packets_flow(world, what, options):
    world.start(*options)
    await world.programmed("foo", FOO)
    await world.until_status(lambda status: status.watching)
    before = await world.status()
    stream = Stream(world.network)
    async with stream.running():
        await asyncio.sleep(0.1)
        leaked = stream.received(SECRET)
        await asyncio.to_thread(nft, TAMPERINGS[what])
        await world.until_status(lambda status: status.repairs > before.repairs)
        repaired = stream.received(SECRET)
        await asyncio.sleep(0.3)
        assert stream.received(SECRET) == repaired
    assert leaked == 0
    if what == "element":  # without an identity a pod is fenced: closed, not open
        assert repaired == 0
        assert stream.received(PORT) > 0
    else:
        assert stream.received(PORT) == stream.sent
    await world.until(lambda: world.events(CHANGED))
    (event,) = world.events(CHANGED)
    assert event["type"] == "Warning"
    assert re.search(r"changed by nft \(pid \d+\): .+; it has been repaired", event["message"])
    assert "stockade_repairs_total 1.0" in (await world.page("/metrics"))[1]
    assert (await world.page("/readyz"))[0] == 200


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("options", BACKENDS, ids=lambda options: options[1])
async def test_other_tables_that_change_all_the_time_cost_next_to_nothing(world, options):
    """As kube-proxy does: its table changes with every Endpoints object."""
    agent = world.start(*options)
    await world.programmed("foo", FOO)
    before = await world.until_status(lambda status: status.watching)
    text = (await world.page("/metrics"))[1]
    looks = re.search(r"stockade_verifications_total (\S+)", text)[1]
    nft("add table ip proxy; add set ip proxy s { type ipv4_addr; }")
    used, started = cpu_seconds(agent), time.monotonic()
    for number in range(200):
        element = f"element ip proxy s {{ 10.96.{number // 250}.{number % 250} }}"
        await asyncio.to_thread(nft, f"add {element}" if number % 2 else f"add {element}; delete {element}")
    used, took = cpu_seconds(agent) - used, time.monotonic() - started
    after = await world.status()
    assert after.repairs == before.repairs == 0
    assert f"stockade_verifications_total {looks}" in (await world.page("/metrics"))[1]
    assert "stockade_foreign_changes_total 0.0" in (await world.page("/metrics"))[1]
    assert used < 0.25 * took
    assert world.events(CHANGED) == []


async def test_our_own_changes_are_nobodys(world):
    """Also those of the nft processes that we start."""
    world.start("--backend", "nft")
    await world.programmed("foo", FOO)
    await world.until_status(lambda status: status.watching)
    for number in range(5):
        world.api.put(POLICIES, egress(f"more-{number}", ("UDP", 1000 + number)))
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert "stockade_foreign_changes_total 0.0" in (await world.page("/metrics"))[1]


async def test_an_owned_table_is_not_changed_by_others_and_adopted_after_a_kill(world):
    first = world.start("--own-table")
    await world.programmed("foo", FOO)
    if "owned" not in (await world.status()).backend:
        pytest.skip("this kernel cannot keep an owned table")
    refused = await asyncio.to_thread(tried, "flush ruleset; insert rule inet stockade fwd_hook accept")
    assert "Operation not permitted" in refused
    stream = Stream(world.network)
    async with stream.running():
        await asyncio.sleep(0.1)
        first.kill()
        await asyncio.to_thread(first.wait)
        await asyncio.sleep(0.1)
        world.start("--own-table")
        await world.programmed("foo", FOO)
        world.api.put(POLICIES, egress("more", ("UDP", 1)))
        await world.until_status(lambda status: status.world["networkpolicies"] == 2)
    assert stream.received(SECRET) == 0
    assert stream.received(PORT) == stream.sent
