"""One lab with the suites' nine pods, for all their tests. Needs root and nft; skipped with the reason otherwise."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.lab.paths import LabPaths
from stockade.lab.preflight import missing_requirement
from stockade.testing.conformance.case import PROBES
from stockade.testing.conformance.cluster import Cluster
from stockade.testing.conformance.world import World

On = Callable[[Callable[[Cluster], Awaitable[Any]]], Any]


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if reason := missing_requirement():
        pytest.skip(reason)
    state = tmp_path_factory.mktemp("suites")
    paths = LabPaths.of(f"test-{uuid.uuid4().hex[:8]}", state / "stockade")
    env = {**os.environ, "XDG_STATE_HOME": str(state)}
    stockade = [sys.executable, "-m", "stockade.cli.main"]
    up = [*stockade, "up", "--name", paths.name]
    subprocess.run(up, check=True, timeout=60, stdout=subprocess.DEVNULL, env=env)
    try:
        yield paths.kubeconfig
    finally:
        subprocess.run([*stockade, "down", "--name", paths.name], check=True, timeout=60, env=env)


@pytest.fixture(scope="session")
def on_cluster(kubeconfig: Path) -> Iterator[On]:
    """Runs something with the nine pods; one event loop and one connection pool for all tests."""
    with asyncio.Runner() as runner:
        client = ApiClient(load(kubeconfig))
        runner.run(client.__aenter__())
        cluster = Cluster(client, PROBES)
        try:
            runner.run(cluster.build(World(labelled=False)))
            yield lambda ask: runner.run(_await(ask(cluster)))
        finally:
            runner.run(client.__aexit__())


async def _await(work: Awaitable[Any]) -> Any:
    return await work
