"""A lab of our own for the tests that drive real kubectl. Needs root and nft; skipped with the reason otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.lab.demo.terminal import Terminal
from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement

ROOT = Path(__file__).parents[3]
NEW_KUBECTL = Path(sys.executable).parent / "kubectl"
OLD_KUBECTL = Path(
    os.environ.get("STOCKADE_KUBECTL_OLD") or ROOT / ".cache/kubernetes-client/usr/bin/kubectl"
)
SECONDS = 60


class Lab:
    """One running lab with one kubectl."""

    def __init__(self, name: str, state: Path, kubectl: Path) -> None:
        self.name = name
        self.kubectl_path = kubectl
        self.old = kubectl == OLD_KUBECTL
        self.env = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm", "HOME": str(state)}
        self.paths = LabPaths.of(name, state / "stockade")
        self.env["KUBECONFIG"] = str(self.paths.kubeconfig)

    def stockade(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stockade.cli.main", *arguments]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.kubectl_path), *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.try_kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, manifest: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def terminal(self, *arguments: str) -> Terminal:
        return Terminal([str(self.kubectl_path), *arguments], self.env)

    def run_pod(
        self, name: str, *arguments: str, image: str = "alpine", command: tuple[str, ...] = ()
    ) -> str:
        """A pod that is Ready; returns its IP."""
        self.kubectl("run", name, f"--image={image}", *arguments, *(("--", *command) if command else ()))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
        return self.get("pod", name)["status"]["podIP"]


def _start(tmp: Path, kubectl: Path, *options: str) -> Lab:
    if reason := missing_requirement():
        pytest.skip(reason)
    lab = Lab(f"test-{uuid.uuid4().hex[:8]}", tmp, kubectl)
    done = lab.stockade("up", "--name", lab.name, *options)
    assert done.returncode == 0, done.stderr + (lab.paths.log.read_text() if lab.paths.log.exists() else "")
    assert done.stdout == f"export KUBECONFIG={lab.paths.kubeconfig}\n"
    return lab


@pytest.fixture(
    params=[pytest.param(NEW_KUBECTL, id="kubectl-1.37"), pytest.param(OLD_KUBECTL, id="kubectl-1.20")]
)
def each_kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A fresh lab, once for each client."""
    if not request.param.exists():
        pytest.skip(
            f"{request.param.name} is not there: scripts/setup unpacks it where Debian has the package"
        )
    yield from _run(tmp_path, request.param)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A fresh lab driven by the newest client."""
    yield from _run(tmp_path, NEW_KUBECTL)


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for a whole file of tests that do not get into each other's way."""
    yield from _run(tmp_path_factory.mktemp("lab"), NEW_KUBECTL)


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of two nodes for a whole file of tests that do not get into each other's way."""
    yield from _run(tmp_path_factory.mktemp("lab"), NEW_KUBECTL, "--nodes", "2")


@pytest.fixture
def ipv4_lab(tmp_path: Path) -> Iterator[Lab]:
    """A fresh lab without IPv6."""
    yield from _run(tmp_path, NEW_KUBECTL, "--ip-family", "ipv4")


def _run(tmp_path: Path, kubectl: Path, *options: str) -> Iterator[Lab]:
    lab = _start(tmp_path, kubectl, *options)
    try:
        yield lab
    finally:
        lab.stockade("down", "--name", lab.name)
        shutil.rmtree(lab.paths.directory, ignore_errors=True)
