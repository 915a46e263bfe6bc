"""Several labs at once, of one user and of another state directory: the same names and addresses in each, and nothing shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.lab.preflight import missing_requirement

pytestmark = pytest.mark.lab
KUBECTL = Path(sys.executable).parent / "kubectl"
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody}
spec: {podSelector: {matchLabels: {run: web}}, ingress: []}
"""


class Side:
    """A lab, by its state directory and its name."""

    def __init__(self, state: Path, name: str) -> None:
        self.name = name
        self.env = {**os.environ, "XDG_STATE_HOME": str(state)}
        self.kubeconfig = state / "stockade" / "labs" / name / "kubeconfig"

    def stockade(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stockade.cli.main", *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=90, check=False)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        command = [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fill(self) -> None:
        """A server that says which lab it is in, and a client."""
        page = f"mkdir /w; echo {self.kubeconfig} > /w/index.html; httpd -f -p 80 -h /w"
        self.kubectl("run", "web", "--image=busybox", "--command", "--", "sh", "-c", page)
        self.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
        self.kubectl("run", "client", "--image=alpine", "--", "sleep", "600")
        self.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")

    def address(self, pod: str) -> str:
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")

    def fetch(self, address: str) -> tuple[int, str]:
        command = [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", "exec", "client", "--"]
        command += ["wget", "-qO-", "--timeout=1", f"http://{address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.strip()


@pytest.fixture
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    """Started at the same moment: they build the same images and look for a port at once."""
    if reason := missing_requirement():
        pytest.skip(reason)
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    found = [Side(one, "a"), Side(one, "b"), Side(other, "a")]
    try:
        with ThreadPoolExecutor(3) as threads:
            done = list(threads.map(lambda side: side.stockade("up", "--name", side.name), found))
            assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
            list(threads.map(Side.fill, found))
        yield found
    finally:
        for state in (one, other):
            Side(state, "a").stockade("down", "--all")
            shutil.rmtree(state, ignore_errors=True)


def test_labs_know_nothing_of_each_other(sides):
    first, second, third = sides
    links = Path("/sys/class/net").iterdir
    before = set(links())
    assert len({side.kubectl("config", "view", "-o", "jsonpath={..server}") for side in sides}) == 3
    contexts = [side.kubectl("config", "current-context").strip() for side in sides]
    assert contexts == ["stockade-a", "stockade-b", "stockade-a"]
    assert len({side.address("web") for side in sides}) == 1, "the same address, thrice"
    address = first.address("web")
    assert [side.fetch(address) for side in sides] == [(0, str(side.kubeconfig)) for side in sides]

    second.kubectl("apply", "-f", "-", stdin=DENY)
    first.env["KUBECONFIG"] = f"{first.kubeconfig}{os.pathsep}{second.kubeconfig}"
    for context, status in (("stockade-a", 0), ("stockade-b", 1)):
        asked = first.stockade("check", "pod/client", "pod/web:80", "--context", context)
        assert asked.returncode == status, asked.stderr
    assert any(second.fetch(address)[0] for _ in range(20)), "the policy is in force a moment later"
    assert [side.fetch(address)[0] for side in sides] == [0, 1, 0]
    command = [str(KUBECTL), f"--kubeconfig={first.kubeconfig}", f"--token={_token(second)}", "get", "pods"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Unauthorized" in refused.stderr, "a token is of one lab"

    listed = json.loads(first.stockade("status", "--all", "-o", "json").stdout)
    assert [(lab["name"], lab["state"]) for lab in listed] == [("a", "running"), ("b", "running")]
    assert listed[0]["pid"] != listed[1]["pid"]
    lines = third.stockade("status", "--all").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["NAME", "STATE"], ["a", "running"]]

    assert first.stockade("down", "--name", "a").returncode == 0
    assert second.fetch(address)[0] == 1, "the other's rules stay"
    assert third.fetch(address) == (0, str(third.kubeconfig))
    ended = second.stockade("down", "--all")
    assert (ended.returncode, ended.stderr) == (0, "lab 'b' is gone\n")
    assert third.fetch(address)[0] == 0, "--all is all of one user"
    assert set(links()) == before


def _token(side: Side) -> str:
    return side.kubectl("config", "view", "--raw", "-o", "jsonpath={..token}")
