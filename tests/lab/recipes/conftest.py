"""One lab for each kubectl, for all recipes."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement

ROOT = Path(__file__).parents[3]
NEW_KUBECTL = Path(sys.executable).parent / "kubectl"
OLD_KUBECTL = Path(
    os.environ.get("STOCKADE_KUBECTL_OLD") or ROOT / ".cache/kubernetes-client/usr/bin/kubectl"
)


class Stage:
    """A running lab, the kubectl to drive it with, and the environment in which both find their files."""

    def __init__(self, lab: LabPaths, kubectl: Path, env: dict[str, str]) -> None:
        self.lab = lab
        self.kubectl = kubectl
        self.env = env

    def run(self, *arguments: str) -> str:
        command = [str(self.kubectl), "--kubeconfig", str(self.lab.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=self.env)
        return done.stdout

    def clean(self) -> None:
        """Whatever a recipe that failed left, so that the next one is judged by itself."""
        self.run("delete", "pods,networkpolicies", "--all", "--grace-period=0", "--force", "--wait=false")
        self.run("delete", "services", "-l", "component!=apiserver")
        names = self.run("get", "namespaces", "-o", "name").split()
        for name in names:
            if not name.startswith(("namespace/kube-", "namespace/default")):
                self.run("delete", name)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stage]]:
    """A lab for each kubectl that is there, the newest first."""
    if reason := missing_requirement():
        pytest.skip(reason)
    with ExitStack() as stack:
        state = tmp_path_factory.mktemp("recipes")
        yield [
            stack.enter_context(_stage(state, kubectl))
            for kubectl in (NEW_KUBECTL, OLD_KUBECTL)
            if kubectl.exists()
        ]


@contextmanager
def _stage(state: Path, kubectl: Path) -> Iterator[Stage]:
    lab = LabPaths.of(f"test-{uuid.uuid4().hex[:8]}", state / "stockade")
    env = {**os.environ, "XDG_STATE_HOME": str(state), "HOME": str(state)}
    stockade = [sys.executable, "-m", "stockade.cli.main"]
    up = [*stockade, "up", "--name", lab.name]
    subprocess.run(up, check=True, timeout=60, stdout=subprocess.DEVNULL, env=env)
    try:
        yield Stage(lab, kubectl, env)
    finally:
        subprocess.run([*stockade, "down", "--name", lab.name], check=True, timeout=60, env=env)
