"""The agent as a process: real kernel, real sockets, a fake API. Killed, it leaves its rules; started again, it adopts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from stockade.agent.gate import GateClient
from stockade.testing.kube_api import ObjectsApi, serving

pytestmark = pytest.mark.kernel

FOO, WEB = "10.244.0.5", "10.244.0.6"
PODS, NODES, NAMESPACES = "/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces"
POLICIES, EVENTS = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/events"
RUN = [sys.executable, "-c", "from stockade.cli.agent import command; command()"]
PORT, SECRET = 9999, 7777


def pod(name, ip):
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": name}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": ip},
    }


ONLY_PORT = {
    "metadata": {"name": "foo-one-port", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "foo"}},
        "policyTypes": ["Egress"],
        "egress": [{"ports": [{"port": PORT, "protocol": "UDP"}]}],
    },
}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Setting:
    def __init__(self, network, api, directory):
        self.network, self.api, self.directory = network, api, directory
        self.processes = []

    def start_agent(self, *arguments):
        process = subprocess.Popen(
            [*RUN, "--kubeconfig", str(self.directory / "config"), "--node", "node-1", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    async def programmed(self, name, address, seconds=20):
        await GateClient(self.directory / "gate").wait("default", name, f"uid-{name}", address, seconds)

    @property
    def gate(self):
        return "--gate", str(self.directory / "gate")

    async def end(self, process, number):
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, 10)


@pytest.fixture
async def setting(network, tmp_path):
    network.add_pod("foo", FOO)
    network.add_pod("web", WEB)
    api = ObjectsApi()
    api.put(NAMESPACES, {"metadata": {"name": "default"}})
    api.put(NODES, {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.0.0/24"}})
    api.put(PODS, pod("foo", FOO))
    api.put(PODS, pod("web", WEB))
    async with serving(api.handle) as client:
        config = {
            "current-context": "t",
            "contexts": [{"name": "t", "context": {"cluster": "t"}}],
            "clusters": [{"name": "t", "cluster": {"server": client.access.server}}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        made = Setting(network, api, tmp_path)
        try:
            yield made
        finally:
            for process in made.processes:
                if process.poll() is None:
                    process.kill()
                process.communicate()


class Stream:
    """UDP datagrams from foo to web, on an allowed and on a denied port, counted where they arrive."""

    def __init__(self, network):
        self.sender = network.open("foo")
        self.receivers = {port: network.listen("web", port, socket.SOCK_DGRAM) for port in (PORT, SECRET)}
        for each in self.receivers.values():
            each.setblocking(False)
        self._arrived = dict.fromkeys(self.receivers, 0)

    def send(self):
        for port in self.receivers:
            self.sender.sendto(b"x", (WEB, port))

    def received(self, port):
        """So far; to be asked often, for a socket holds 256 datagrams."""
        with contextlib.suppress(BlockingIOError):
            while self.receivers[port].recv(64):
                self._arrived[port] += 1
        return self._arrived[port]

    async def run(self, seconds):
        """How many were sent to each port."""
        end, sent = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            self.send()
            sent += 1
            self.received(PORT)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        return sent


async def test_a_denied_packet_becomes_an_event_on_the_pod(setting):
    setting.api.put(POLICIES, ONLY_PORT)
    setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    stream = Stream(setting.network)
    stream.send()
    async with asyncio.timeout(10):
        while not setting.api.objects[EVENTS]:
            setting.api.changed.clear()
            await setting.api.changed.wait()
    event = next(iter(setting.api.objects[EVENTS].values()))
    assert event["involvedObject"]["name"] == "foo"
    assert event["reason"] == "NetworkPolicyDenied"
    assert event["message"].startswith(
        f"egress to {WEB}:{SECRET}/UDP (pod default/web) denied: isolated by NetworkPolicy foo-one-port"
    )
    assert stream.received(PORT) == 1
    assert stream.received(SECRET) == 0


async def test_kill_9_and_a_new_agent_without_leak_or_loss(setting):
    setting.api.put(POLICIES, ONLY_PORT)
    first = setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    await setting.programmed("web", WEB)
    stream = Stream(setting.network)
    traffic = asyncio.create_task(stream.run(2.0))
    await setting.end(first, signal.SIGKILL)
    setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    sent = await traffic
    assert stream.received(SECRET) == 0
    assert stream.received(PORT) == sent


async def test_sigterm_is_a_clean_exit_and_the_rules_stay(setting):
    setting.api.put(POLICIES, ONLY_PORT)
    process = setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    assert await setting.end(process, signal.SIGTERM) == 0
    assert not (setting.directory / "gate").exists()
    stream = Stream(setting.network)
    sent = await stream.run(0.05)
    assert stream.received(PORT) == sent
    assert stream.received(SECRET) == 0


async def test_a_pod_that_is_not_programmed_is_fenced_while_the_agent_is_dead(setting):
    process = setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    await setting.end(process, signal.SIGKILL)
    setting.network.add_pod("late", "10.244.0.9")
    receiver = setting.network.listen("web", PORT, socket.SOCK_DGRAM)
    setting.network.open("late").sendto(b"x", (WEB, PORT))
    setting.network.open("foo").sendto(b"y", (WEB, PORT))
    receiver.settimeout(5)
    assert await asyncio.to_thread(receiver.recv, 64) == b"y"


async def test_cleanup_takes_the_table_away(setting):
    process = setting.start_agent(*setting.gate)
    await setting.programmed("foo", FOO)
    await setting.end(process, signal.SIGTERM)
    cleanup = setting.start_agent("--cleanup")
    _, said = await asyncio.to_thread(cleanup.communicate, None, 20)
    assert cleanup.returncode == 0
    assert "nothing is policed" in said
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
