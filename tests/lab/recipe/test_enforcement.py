"""What a person cannot see at a prompt: live flows are cut, the agent's death opens nothing, denied packets are named."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import msgspec
import pytest

from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS, DENY_ALL
from stockade.lab.processes import agents

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
PYTHON = "/opt/stockade/python/bin/python3"  # what runs the stand-ins' wget
# through a shell: what a runtime would call its own binary may not be executed directly in a pod
RUN = ("sh", "-c", 'exec "$0" "$@"', PYTHON, "-c")
PERIOD, CUT_WITHIN = 0.005, 0.1  # seconds
RECEIVE = """
import socket, sys, time
kind, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", port))
print("ready", flush=True)
if kind == "tcp":
    s.listen(); s, _ = s.accept()
while data := s.recv(8 if kind == "udp" else 8, 0 if kind == "udp" else socket.MSG_WAITALL):
    print(int(data), time.time(), flush=True)
"""
SEND = """
import socket, sys, time
kind, host, port, period = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.connect((host, port))
for number in range(100000):
    try: s.send(b"%8d" % number)
    except OSError: pass
    time.sleep(period)
"""


class Stream:
    """Numbered packets from one pod to another, each with its time of arrival."""

    def __init__(self, lab, kind: str, source: str, target: str, address: str, port: int) -> None:
        base = [str(lab.kubectl_path), "exec"]
        self.receiver = subprocess.Popen(
            [*base, target, "--", *RUN, RECEIVE, kind, str(port)],
            env=lab.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.receiver.stdout is not None
        assert self.receiver.stdout.readline() == "ready\n"
        self.sender = subprocess.Popen(
            [*base, source, "--", *RUN, SEND, kind, address, str(port), str(PERIOD)], env=lab.env
        )

    def stop(self) -> list[tuple[int, float]]:
        """(number, arrival) of every packet that arrived."""
        self.sender.kill()
        self.receiver.kill()
        out, _ = self.receiver.communicate(timeout=20)
        self.sender.wait(20)
        lines = [line.split() for line in out.splitlines()]
        return [(int(line[0]), float(line[1])) for line in lines if len(line) == 2]


def setup_pods(lab) -> str:
    address = lab.run_pod("server", "-l", "app=server", command=("sleep", "3600"))
    lab.run_pod("foo", "-l", "app=foo", command=("sleep", "3600"))
    lab.run_pod("bar", "-l", "app=bar", command=("sleep", "3600"))
    return address


def numbers(arrivals: list[tuple[int, float]]) -> list[int]:
    return [number for number, _ in arrivals]


def test_a_stricter_policy_cuts_live_flows_and_leaves_others_alone(lab) -> None:
    address = setup_pods(lab)
    flows = {
        (source, kind): Stream(lab, kind, source, "server", address, port)
        for port, (source, kind) in enumerate(
            [("foo", "tcp"), ("foo", "udp"), ("bar", "tcp"), ("bar", "udp")], start=9001
        )
    }
    time.sleep(2)
    lab.apply(DENY_ALL)
    applied = time.time()
    time.sleep(1)
    for (source, kind), stream in flows.items():
        arrivals = stream.stop()
        assert arrivals, (source, kind)
        assert numbers(arrivals) == list(range(arrivals[0][0], arrivals[0][0] + len(arrivals))), (
            source,
            kind,
        )
        last = arrivals[-1][1]
        if source == "foo":
            assert last <= applied + CUT_WITHIN, (kind, last - applied)
        else:
            assert last > applied + 0.8, kind


def test_killed_agent_opens_nothing_and_a_new_one_adopts(lab) -> None:
    address = setup_pods(lab)
    lab.apply(DENY_ALL)
    time.sleep(0.3)
    allowed = Stream(lab, "udp", "bar", "server", address, 9001)
    denied = Stream(lab, "udp", "foo", "server", address, 9002)
    time.sleep(1)
    (old,) = agents(lab.paths)
    os.kill(old.pid, signal.SIGKILL)
    lab.kubectl("run", "late", "--image=alpine", "-l", "app=foo", "--", "sleep", "3600")
    time.sleep(1.5)
    late = lab.get("pod", "late")
    assert late["status"]["phase"] == "Pending", "a pod started without its rules"
    lab.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=30s")
    (new,) = agents(lab.paths)
    assert new.pid != old.pid
    time.sleep(1)
    arrivals = numbers(allowed.stop())
    assert arrivals == list(range(arrivals[0], arrivals[0] + len(arrivals))), "an allowed packet was lost"
    assert len(arrivals) > 500
    assert denied.stop() == []
    wget = ("wget", "-qO-", "--timeout", "1", f"http://{address}:9001/")
    assert "download timed out" in lab.try_kubectl("exec", "late", "--", *wget).stderr


def test_a_pod_sends_nothing_that_its_policies_deny_from_its_first_moment(lab) -> None:
    """Rule 50: isolation holds before the first process starts."""
    address = lab.run_pod("server", "-l", "app=server", command=("sleep", "3600"))
    lab.apply(DENY_ALL)
    receiver = subprocess.Popen(
        [str(lab.kubectl_path), "exec", "server", "--", *RUN, RECEIVE, "udp", "9001"],
        env=lab.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    for number in range(10):
        command = (*RUN, SEND, "udp", address, "9001", "0.001")
        lab.kubectl("run", f"early-{number}", "--image=alpine", "-l", "app=foo", "--", *command)
    lab.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=foo", "--timeout=30s")
    time.sleep(0.5)
    lab.kubectl(
        "run",
        "free",
        "--image=alpine",
        "-l",
        "app=free",
        "--",
        *RUN,
        SEND,
        "udp",
        address,
        "9001",
        "0.1",
    )
    assert receiver.stdout.readline().split()[0] == "0", "the stream itself works"
    receiver.kill()
    rest, _ = receiver.communicate(timeout=20)
    assert len(rest.splitlines()) < 50, "only the free pod's packets arrive"


def test_each_denied_packet_is_named(lab) -> None:
    address = setup_pods(lab)
    lab.apply(ALLOW_DNS)
    for url in (f"http://{address}:8080/", "http://www.example.com/"):
        lab.try_kubectl("exec", "foo", "--", "wget", "-qO-", "--timeout", "1", url)
    time.sleep(1.5)
    done = lab.stockade("drops", "-o", "json")
    assert done.returncode == 0, done.stderr
    drops = msgspec.json.decode(done.stdout)
    seen = {(d["pod"], d["direction"], d["peer"].split()[0], d["port"], d["protocol"]) for d in drops}
    assert ("foo", "egress", address, "8080", "TCP") in seen
    assert ("foo", "egress", "93.184.216.34", "80", "TCP") in seen
    assert {tuple(d["policies"]) for d in drops} == {("default/foo-deny-egress",)}
    events = lab.kubectl("get", "events", "--field-selector", "reason=NetworkPolicyDenied")
    assert "foo-deny-egress" in events
