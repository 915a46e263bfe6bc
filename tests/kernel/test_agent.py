"""The agent as a process: real kernel, real sockets, a fake API. Killed, it leaves its rules; started again, it adopts them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess

import pytest

from stockade.testing.agent_process import (
    EVENTS,
    FOO,
    POLICIES,
    PORT,
    RUN,
    SECRET,
    WEB,
    Stream,
    egress,
    setting,
)

pytestmark = pytest.mark.kernel

ONLY_PORT = egress("foo-one-port", ("UDP", PORT))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
async def world(network, tmp_path):
    async with setting(network, tmp_path) as made:
        yield made


async def test_a_denied_packet_becomes_an_event_on_the_pod(world):
    world.api.put(POLICIES, ONLY_PORT)
    world.start()
    await world.programmed("foo", FOO)
    stream = Stream(world.network)
    stream.send()
    await world.until(lambda: world.api.objects[EVENTS], 10)
    event = next(iter(world.api.objects[EVENTS].values()))
    assert event["involvedObject"]["name"] == "foo"
    assert event["reason"] == "NetworkPolicyDenied"
    assert event["message"].startswith(
        f"egress to {WEB}:{SECRET}/UDP (pod default/web) denied: isolated by NetworkPolicy foo-one-port"
    )
    assert stream.received(PORT) == 1
    assert stream.received(SECRET) == 0


async def test_kill_9_and_a_new_agent_without_leak_or_loss(world):
    world.api.put(POLICIES, ONLY_PORT)
    first = world.start()
    await world.programmed("foo", FOO)
    await world.programmed("web", WEB)
    stream = Stream(world.network)
    traffic = asyncio.create_task(stream.run(2.0))
    await world.end(first, signal.SIGKILL)
    world.start()
    await world.programmed("foo", FOO)
    await traffic
    assert stream.received(SECRET) == 0
    assert stream.received(PORT) == stream.sent


async def test_sigterm_is_a_clean_exit_and_the_rules_stay(world):
    world.api.put(POLICIES, ONLY_PORT)
    process = world.start()
    await world.programmed("foo", FOO)
    assert await world.end(process, signal.SIGTERM) == 0
    assert not (world.directory / "gate").exists()
    stream = Stream(world.network)
    await stream.run(0.05)
    assert stream.received(PORT) == stream.sent
    assert stream.received(SECRET) == 0


async def test_a_pod_that_is_not_programmed_is_fenced_while_the_agent_is_dead(world):
    process = world.start()
    await world.programmed("foo", FOO)
    await world.end(process, signal.SIGKILL)
    world.network.add_pod("late", "10.244.0.9")
    receiver = world.network.listen("web", PORT, socket.SOCK_DGRAM)
    world.network.open("late").sendto(b"x", (WEB, PORT))
    world.network.open("foo").sendto(b"y", (WEB, PORT))
    receiver.settimeout(5)
    assert await asyncio.to_thread(receiver.recv, 64) == b"y"


async def test_cleanup_takes_the_table_away(world):
    process = world.start()
    await world.programmed("foo", FOO)
    await world.end(process, signal.SIGTERM)
    cleanup = world.start("--cleanup")
    assert await asyncio.to_thread(cleanup.wait, 20) == 0
    assert "nothing is policed" in (world.directory / "log").read_text()
    assert "stockade" not in await asyncio.to_thread(output, "nft", "list", "tables")


def test_without_nft_the_agent_says_so_and_goes_by_netlink(network):
    process = subprocess.run(
        [*RUN, "--node", "node-1", "--backend", "nft", "--kubeconfig", "/nowhere/config"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": "/nowhere"},
    )
    assert process.returncode == 2
    warning, failure = process.stderr.splitlines()
    assert "by netlink instead of nft: nft: the program nft is not installed: install the package" in warning
    assert failure == "stockade: no kubeconfig at /nowhere/config"


def test_without_a_kubeconfig_one_clear_line(network):
    process = subprocess.run(
        [*RUN, "--node", "node-1", "--kubeconfig", "/nowhere/config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.splitlines() == ["stockade: no kubeconfig at /nowhere/config"]
