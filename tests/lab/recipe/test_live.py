"""``stockade test --live``: what was decided, and what the kernel does; and references to workloads on a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from stockade.lab.processes import agents

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {run: cli}}}]
    ports: [{port: 80}, {port: 8000}]
"""
ASSERTIONS = """
tests:
- {name: to the Service, from: pod/cli, to: svc/web, expect: allowed, via: web}
- {name: to each pod, from: pod/cli, to: deploy/web, port: 80, expect: allowed}
- {name: nobody listens, from: pod/cli, to: deploy/web, port: 8000, expect: allowed}
- {name: another port, from: pod/cli, to: deploy/web, port: 8001-8002, expect: denied}
- {name: others, from: pod/other, to: [svc/web, deploy/web], expect: denied, via: web}
- {name: datagrams, from: pod/other, to: deploy/web, protocol: UDP, port: 53, expect: denied}
- {name: from a workload, from: deploy/web, to: www.example.com:80, expect: allowed}
"""


def run(lab, *arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stockade.cli.main", "test", "-", *arguments]
    return subprocess.run(
        command, env=lab.env, input=stdin, capture_output=True, text=True, timeout=100, check=False
    )


def test_three_columns_agree(lab):
    lab.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2", "--port=80")
    lab.kubectl("expose", "deployment", "web", "--port=80")
    lab.run_pod("cli", command=("sleep", "1000"))
    lab.run_pod("other", command=("sleep", "1000"))
    lab.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    lab.apply(POLICY)

    done = run(lab, "--live", "-o", "json", stdin=ASSERTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    results = json.loads(done.stdout)["results"]
    assert [each.get("observed") for each in results] == [
        "allowed",
        "allowed",
        "allowed",
        "denied",
        "denied",
        "denied",
        "",
        "allowed",
    ]
    assert len(lab.get("pods", "-l", "app=web")["items"]) == 2

    wrong = run(lab, "--live", stdin=ASSERTIONS.replace("via: web", "via: other"))
    assert wrong.returncode == 2
    assert "no NetworkPolicy other in any namespace" in wrong.stderr


def test_a_kernel_that_does_not_do_what_was_decided_is_noticed(lab):
    address = lab.run_pod("web", "--labels=app=web", image="nginx")
    lab.run_pod("other", command=("sleep", "1000"))
    lab.apply(POLICY)
    asserted = f"tests: [{{from: pod/other, to: {address}, port: 80, expect: denied, via: web}}]"
    assert run(lab, "--live", stdin=asserted).returncode == 0

    (agent,) = agents(lab.paths)
    os.kill(agent.pid, signal.SIGSTOP)  # it would repair what is taken away below
    try:
        undo = ["nsenter", "-t", str(agent.pid), "-n", "nft", "delete", "table", "inet", "stockade"]
        subprocess.run(undo, check=True, timeout=10)
        assert run(lab, stdin=asserted).returncode == 0  # the policies still say so
        done = run(lab, "--live", stdin=asserted)
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "decided denied, but observed allowed (connected)" in done.stdout
