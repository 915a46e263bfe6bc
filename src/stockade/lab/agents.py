"""Keeps a node's agent running, like a DaemonSet does: started once, restarted after a back-off when it ends.

In: how to spawn a process, the node's number, name and network namespace. Out: a running agent. Called by ``lab.nodes``.
The agent is a process of its own that talks to the API like any client; while it is away the kernel keeps its rules.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stockade.lab.node.processes import NodeProcesses
from stockade.lab.node.spawner import Command, Streams
from stockade.lab.paths import LabPaths
from stockade.lab.topology import NodePlan

log = logging.getLogger(__name__)
NO_SYSTEM_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Of its environment: the agent knows its lab by the kubeconfig. aiohttp reads the system's authorities when it is imported, a tenth of the time
that an agent takes to start."""
FIRST_DELAY, LONGEST_DELAY, STABLE_AFTER = 5.0, 60.0, 60.0  # seconds


class AgentSupervisor:
    """One agent process for one node. ``report`` gets the agent's last words each time it ends. ``options``: more of its options."""

    def __init__(
        self,
        spawner: NodeProcesses,
        paths: LabPaths,
        *,
        node: NodePlan,
        netns: int,
        report: Callable[[str], None],
        options: Sequence[str] = (),
    ) -> None:
        self._spawner = spawner
        self._paths = paths
        self._node = node
        self._netns = netns
        self._report = report
        self._options = options

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "stockade.cli.main",
            "agent",
            "--kubeconfig",
            str(self._paths.agent_kubeconfig),
            "--node",
            self._node.name,
            "--gate",
            str(self._paths.gate(self._node.number)),
            "--health",
            str(self._paths.health(self._node.number)),
            *self._options,
        ]

    async def run(self) -> None:
        """Ends only when cancelled; the agent is then asked to stop. Its rules go with the lab's network namespace."""
        delay = FIRST_DELAY
        while True:
            started = time.monotonic()
            status = await self._run_once()
            if time.monotonic() - started > STABLE_AFTER:
                delay = FIRST_DELAY
            self._report(_last_line(self._paths.agent_log(self._node.number)))
            log.warning(
                "the agent of %s ended with status %s; its rules stay; a new one starts in %.0f s",
                self._node.name,
                status,
                delay,
            )
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self) -> int:
        path = self._paths.agent_log(self._node.number)
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = await self._spawner.spawn_plain(
                Command(argv=self._command(), env={**os.environ, **NO_SYSTEM_CERTIFICATES}),
                Streams(stdout=output, stderr=output),
                netns=self._netns,
            )
        finally:
            os.close(output)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            process.kill(signal.SIGTERM)
            raise


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
