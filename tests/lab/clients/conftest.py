"""One lab for all clients of a file; each client has a namespace, a home and a kubeconfig of its own in it for each transcript.

``STOCKADE_KUBECTLS=all`` (or ``1.24,1.30``) plays with these minors instead of the usual ones; ``scripts/kubectls`` brings them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement
from stockade.testing import kubectls

from .transcript import Player

PRELUDE = (Path(__file__).parent / "prelude.sh").read_text()
ACTS = sorted(path.stem for path in (Path(__file__).parent / "transcripts").glob("*.txt"))
BETWEEN = ("questions",)  # discovery and schemas; all play with streams in test_terminal
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Stage:
    """A running lab of two nodes; nothing is scheduled to the second but what asks for it."""

    def __init__(self, lab: LabPaths, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.admin(
            "cordon", self.admin("get", "nodes", "-o", "jsonpath={.items[1].metadata.name}", quiet=False)
        )

    def admin(self, *arguments: str, quiet: bool = True) -> str:
        """The newest client, to make ready and to clear away."""
        command = [
            str(kubectls.path_of(kubectls.NEWEST)),
            "--kubeconfig",
            str(self.lab.kubeconfig),
            *arguments,
        ]
        return (
            subprocess.run(
                command, check=True, timeout=60, text=True, stdout=None if quiet else subprocess.PIPE
            ).stdout
            or ""
        )

    def player(self, minor: int, act: str) -> Player:
        """In a namespace of its own."""
        namespace = f"{act}-1-{minor}"
        while (home := self.folder / namespace).exists():  # pytest may come back to a kubectl
            namespace += "-again"
        programs, work = home / "programs", home / "work"
        programs.mkdir(parents=True)
        work.mkdir()
        (programs / "kubectl").symlink_to(kubectls.path_of(minor))
        config = home / "config"
        config.write_bytes(self.lab.kubeconfig.read_bytes())
        self.admin("create", "namespace", namespace)
        self.admin("config", "set-context", "--current", "--namespace", namespace, f"--kubeconfig={config}")
        env = {
            "GOGC": "off",  # none lives long enough to collect garbage
            "HOME": str(home),
            "KUBECONFIG": str(config),
            "LC_ALL": "C.UTF-8",
            "LOCKS": str(self.folder),
            "MINOR": str(minor),
            "NS": namespace,
            "PATH": f"{programs}:{SYSTEM_PATH}",
            "TERM": "xterm",
        }
        return Player(minor, namespace, env, work, PRELUDE)

    def leave(self, player: Player) -> None:
        self.admin("delete", "namespace", player.namespace, "--wait=false")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if reason := missing_requirement():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("clients")
    lab = LabPaths.of(f"test-{uuid.uuid4().hex[:8]}", folder / "stockade")
    env = {**os.environ, "XDG_STATE_HOME": str(folder)}
    stockade = [sys.executable, "-m", "stockade.cli.main"]
    up = [*stockade, "up", "--name", lab.name, "--nodes", "2"]
    subprocess.run(up, check=True, timeout=60, stdout=subprocess.DEVNULL, env=env)
    try:
        yield Stage(lab, folder)
    finally:
        subprocess.run([*stockade, "down", "--name", lab.name], check=True, timeout=60, env=env)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``minor``: each client that was asked for; with ``act``, each with each transcript that it plays."""
    if "minor" not in metafunc.fixturenames:
        return
    minors = kubectls.wanted()
    if "act" in metafunc.fixturenames:
        pairs = [(act, minor) for minor in minors for act in _acts(minor)]
        names = [f"{act}-1.{minor}" for act, minor in pairs]
        metafunc.parametrize(("act", "minor"), pairs, ids=names, scope="module")
    else:
        metafunc.parametrize("minor", minors, ids=[f"kubectl-1.{minor}" for minor in minors], scope="module")


def _acts(minor: int) -> list[str]:
    """All; but in the usual suite the clients between the oldest and the newest show only how they ask."""
    usual = not os.environ.get(kubectls.VARIABLE)
    between = kubectls.OLDEST < minor < kubectls.NEWEST
    return [act for act in ACTS if not (usual and between) or act in BETWEEN]


@pytest.fixture(scope="module")
def kubectl(minor: int) -> int:
    """The minor, whose binary is there."""
    path = kubectls.path_of(minor)
    if not path.exists():
        text = f"kubectl 1.{minor} is not at {path}: scripts/kubectls brings it"
        if os.environ.get(kubectls.VARIABLE):
            pytest.fail(text)
        pytest.skip(text)
    return minor
