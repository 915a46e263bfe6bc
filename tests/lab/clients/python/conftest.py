"""One lab for the tests of all Python clients; each test works in a namespace of its own, or on names of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement

KUBECTL = Path(sys.executable).parent / "kubectl"
SECONDS = 60


class ClientLab:
    """A running lab: its kubeconfigs, and kubectl to look at what a client did."""

    def __init__(self, paths: LabPaths) -> None:
        self.paths = paths
        self.kubeconfig = str(paths.kubeconfig)
        self.certificate = str(paths.kubeconfig_of("admin", certificate=True))

    def kubectl(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return done.stdout

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


@pytest.fixture(scope="session")
def client_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientLab]:
    if reason := missing_requirement():
        pytest.skip(reason)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    name = f"py-{uuid.uuid4().hex[:8]}"

    def stockade(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stockade.cli.main", *arguments, "--name", name]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)

    done = stockade("up")
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip().removeprefix("export KUBECONFIG=")).parent
    try:
        yield ClientLab(LabPaths(name, directory, directory.parent.parent))
    finally:
        stockade("down")


@pytest.fixture
def space(client_lab: ClientLab) -> Iterator[str]:
    """A fresh namespace."""
    name = f"ns-{uuid.uuid4().hex[:8]}"
    client_lab.kubectl("create", "namespace", name)
    yield name
    client_lab.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def sleeper(client_lab: ClientLab) -> str:
    """A pod of the default namespace that says "tick" for ever and answers on port 80."""
    script = "httpd -p 80; while :; do echo tick; sleep 0.2; done"
    client_lab.kubectl("run", "sleeper", "--image=busybox", "--labels=app=sleeper", "--", "sh", "-c", script)
    client_lab.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=20s")
    return "sleeper"


@pytest.fixture(scope="session")
def pod_manifest() -> Callable[..., dict]:
    def make(name: str, *command: str, **labels: str) -> dict:
        container = {"name": "main", "image": "busybox", "command": list(command) or ["sleep", "600"]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels or {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }

    return make
