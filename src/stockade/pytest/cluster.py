"""The cluster under test, and the one door to it.

In: what ``--stockade-lab`` says. Out: a Cluster. Called by the plugin's fixtures. A lab is started and stopped by the command line
itself, in a process of its own. The client of ``kube`` is asynchronous; tests need not be, or have an event loop of their own: every
question goes to one thread that has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from stockade.kube.client import ApiClient
from stockade.kube.config import Access
from stockade.kube.config import load as load_access
from stockade.kube.errors import ConfigError, KubeError
from stockade.lab.paths import LabPaths, is_running

T = TypeVar("T")
P = ParamSpec("P")
START_SECONDS = 120


class StockadeError(Exception):
    """A test cannot go on: no lab, an object that the cluster refuses, a pod that does not become ready. The text is for people."""


class Cluster:
    """``kubeconfig``: its path; empty for what KUBECONFIG says. ``is_lab``: its simulated Internet's names are known."""

    def __init__(self, access: Access, kubeconfig: str = "", *, is_lab: bool = False) -> None:
        self.access = access
        self.kubeconfig = kubeconfig
        self.is_lab = is_lab
        self._thread = ThreadPoolExecutor(1, "stockade")

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that may run an event loop. Raises StockadeError for what the API says."""
        __tracebackhide__ = True
        try:
            return self._thread.submit(function, *args, **kwargs).result()
        except (KubeError, ConfigError) as error:
            raise StockadeError(str(error)) from error

    def ask(self, question: Callable[[ApiClient], Awaitable[T]]) -> T:
        """A coroutine over a client."""
        return self.call(_run, self._asked(question))

    async def _asked(self, question: Callable[[ApiClient], Awaitable[T]]) -> T:
        async with ApiClient(self.access) as client:
            return await question(client)

    def kubectl(self, arguments: tuple[str, ...], stdin: str | None) -> subprocess.CompletedProcess[str]:
        """Raises StockadeError when there is no kubectl."""
        beside = Path(sys.executable).parent
        program = shutil.which("kubectl", path=os.pathsep.join((str(beside), os.environ.get("PATH", ""))))
        if program is None:
            raise StockadeError("kubectl is not installed (apply, run, probe and the assertions need none)")
        where = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return subprocess.run(
            [program, *where, *arguments], input=stdin, capture_output=True, text=True, check=False
        )

    def close(self) -> None:
        self._thread.shutdown()


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def current() -> Cluster:
    """What kubectl would speak to."""
    return _cluster("", is_lab=False)


def running(name: str) -> Cluster:
    try:
        paths = LabPaths.of(name)
    except ValueError as error:
        raise StockadeError(f"--stockade-lab: {error}; or fresh, or kubeconfig") from error
    if not is_running(paths):
        raise StockadeError(f"no lab named {name!r} is running; start it with: stockade up --name {name}")
    return _cluster(str(paths.kubeconfig), is_lab=True)


@contextlib.contextmanager
def fresh(*options: str) -> Iterator[Cluster]:
    """A lab with a name that nobody has; down when this ends, whatever happened."""
    name = f"pytest-{uuid.uuid4().hex[:10]}"
    done = _stockade("up", "--name", name, *options)
    if done.returncode:
        raise StockadeError(f"no lab can be started here: {done.stderr.strip()}")
    cluster: Cluster | None = None
    try:
        cluster = running(name)
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        _stockade("down", "--name", name)


def _stockade(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stockade.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)


def _cluster(kubeconfig: str, *, is_lab: bool) -> Cluster:
    try:
        return Cluster(load_access(kubeconfig or None, None), kubeconfig, is_lab=is_lab)
    except ConfigError as error:
        raise StockadeError(str(error)) from error
