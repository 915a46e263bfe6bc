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
    """A running lab, and the kubectl to drive it with."""

    def __init__(self, lab: LabPaths, kubectl: Path) -> None:
        self.lab = lab
        self.kubectl = kubectl

    def run(self, *arguments: str) -> str:
        command = [str(self.kubectl), "--kubeconfig", str(self.lab.kubeconfig), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

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
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        state = str(tmp_path_factory.mktemp("recipes"))
        patch.setenv("XDG_STATE_HOME", state)
        patch.setenv("HOME", state)
        yield [
            stack.enter_context(_stage(kubectl)) for kubectl in (NEW_KUBECTL, OLD_KUBECTL) if kubectl.exists()
        ]


@contextmanager
def _stage(kubectl: Path) -> Iterator[Stage]:
    lab = LabPaths.of(f"test-{uuid.uuid4().hex[:8]}")
    stockade = [sys.executable, "-m", "stockade.cli.main"]
    subprocess.run([*stockade, "up", "--name", lab.name], check=True, timeout=60, stdout=subprocess.DEVNULL)
    try:
        yield Stage(lab, kubectl)
    finally:
        subprocess.run([*stockade, "down", "--name", lab.name], check=True, timeout=60)
