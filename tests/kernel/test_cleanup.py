"""``stockade agent --cleanup``: everything of ours goes, nothing of anybody else's."""

from __future__ import annotations

import asyncio
import signal
import subprocess

import pytest

from stockade.testing.agent_process import FOO, setting

pytestmark = pytest.mark.kernel

STRANGERS = """
add table inet other
add set inet other s { type ipv4_addr; }
add element inet other s { 10.0.0.1 }
add table ip stockade-proxy
add chain ip stockade-proxy c { type nat hook prerouting priority -100; }
add table ip stockade
add chain ip stockade c { type filter hook forward priority 0; }
"""


def listing():
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
async def world(network, tmp_path):
    async with setting(network, tmp_path) as made:
        subprocess.run(["nft", "-f", "-"], input=STRANGERS, text=True, check=True)  # noqa: ASYNC221
        made.before = listing()
        yield made


@pytest.mark.parametrize("options", [(), ("--own-table",), ("--backend", "nft")], ids=" ".join)
async def test_after_a_kill_only_our_things_go(world, options):
    agent = world.start(*options)
    await world.programmed("foo", FOO)
    await world.end(agent, signal.SIGKILL)
    assert (world.directory / "gate").exists()
    assert "inet stockade" in await asyncio.to_thread(listing)
    (world.directory / "mine").write_text("a file of somebody's")
    cleanup = world.start("--cleanup", *options)
    assert await asyncio.to_thread(cleanup.wait, 20) == 0
    assert await asyncio.to_thread(listing) == world.before
    left = {path.name for path in world.directory.iterdir()}
    assert left == {"config", "log", "mine"}
    assert "nothing is policed on this node" in (world.directory / "log").read_text()
    again = world.start("--cleanup")
    assert await asyncio.to_thread(again.wait, 20) == 0


async def test_it_refuses_while_an_agent_would_put_the_rules_back(world):
    world.start()
    await world.programmed("foo", FOO)
    cleanup = world.start("--cleanup")
    assert await asyncio.to_thread(cleanup.wait, 20) == 2
    assert "stop it first" in (world.directory / "log").read_text()
    assert "inet stockade" in await asyncio.to_thread(listing)


async def test_it_removes_no_file_that_is_no_socket(world):
    (world.directory / "gate").write_text("precious")
    cleanup = world.start("--cleanup")
    assert await asyncio.to_thread(cleanup.wait, 20) == 2
    assert (world.directory / "gate").read_text() == "precious"
