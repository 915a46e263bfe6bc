"""What a container's probes lead to: ready, started, events, and its end when it is found dead.

In: a run of a container and ``probes``' findings. Out: ``ready`` and ``started``, calls of ``changed`` and ``restart``, events.
Made by ``container`` for each run. A container without probes is started and ready as soon as it runs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from stockade.lab.node import probes
from stockade.lab.node.netns import open_connection
from stockade.lab.node.process import spawn_piped
from stockade.lab.node.processes import NodeProcesses
from stockade.lab.node.spawner import Command, StartError

JsonObject = dict[str, Any]
Tell = Callable[[str, str, str], None]
"""An event on the container: type, reason, message."""


class Health:
    """``restart`` is given the grace period that the probe asks for, if it does."""

    def __init__(
        self,
        spec: JsonObject,
        changed: Callable[[], None],
        tell: Tell,
        restart: Callable[[float | None], None],
    ) -> None:
        self._spec = spec
        self._changed = changed
        self._tell = tell
        self._restart = restart
        self._probing: asyncio.Task[None] | None = None
        self.started = not spec.get("startupProbe")
        self.ready = self.started and not spec.get("readinessProbe")

    def watch(self, target: probes.Target) -> None:
        if not any(self._spec.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")):
            return
        self._probing = asyncio.create_task(probes.run(self._spec, target, self))

    def end(self) -> None:
        self.ready = self.started = False
        if self._probing is not None:
            self._probing.cancel()

    def set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._changed()

    def set_started(self) -> None:
        if not self.started:
            self.started = True
            self._changed()

    def unhealthy(self, kind: str, text: str) -> None:
        self._tell("Warning", "Unhealthy", f"{kind} probe failed: {text}")

    def dead(self, kind: str) -> None:
        self._tell(
            "Normal", "Killing", f"Container {self._spec['name']} failed {kind} probe, will be restarted"
        )
        self._restart(self._spec[f"{kind}Probe"].get("terminationGracePeriodSeconds"))


def target_of(
    spec: JsonObject, spawner: NodeProcesses, command: Command, init: int, address: str, node: int
) -> probes.Target:
    """Where a running container's probes and hooks go. ``node``: the node's network namespace, from which they go out."""
    ports = {port["name"]: port["containerPort"] for port in spec.get("ports") or [] if port.get("name")}
    execute = partial(_execute, spawner, command, init)
    return probes.Target(
        address=address,
        ports=ports,
        execute=execute,
        connect=partial(open_connection, node),
        awake=spawner.awake,
        listens=bool(command.program),
    )


async def _execute(spawner: NodeProcesses, command: Command, init: int, argv: list[str]) -> tuple[int, str]:
    """Exit status and the beginning of the output of a command in the container; killed when the caller's time is up."""
    output = bytearray()

    def collect(data: bytes, _stream: str) -> None:
        output.extend(data[: 10_240 - len(output)])

    what = msgspec.structs.replace(command, argv=argv, tty=False, program="")
    try:
        piped = await spawn_piped(
            partial(spawner.spawn_exec, what, init=init), stdin=False, tty=False, on_output=collect
        )
    except StartError as error:
        return 128, str(error)
    ended = asyncio.ensure_future(piped.wait())
    try:
        return await asyncio.shield(ended), output.decode(errors="replace")
    except asyncio.CancelledError:
        piped.process.kill_group(signal.SIGKILL)
        raise
