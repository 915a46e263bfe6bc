"""What the API server's streaming endpoints ask of the node: exec, attach, logs, port-forward.

The API server calls; ``lab.node`` implements. Addressed by pod uid and container name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Query parameters of exec and attach."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Query parameters of pods/log; ``since_seconds`` counts back from now."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: float | None = None
    limit_bytes: int | None = None


class NotRunningError(Exception):
    """The container does not run (or does not exist); the text is for the user."""


class Session(Protocol):
    """A running exec or attach. With a tty all output is on ``stdout`` and ``stderr`` is None."""

    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    async def write(self, data: bytes) -> None:
        """To the process's stdin; waits while the pipe is full; silently dropped after the process ended."""

    async def close_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """Exit status (128 + signal when killed). For attach: returns when the container ended."""

    async def close(self) -> None:
        """The client went away: an exec'd process is killed, an attached container goes on."""


class Runtime(Protocol):
    """Implemented by ``lab.node``. Every method raises NotRunningError when there is no such running container."""

    async def exec(self, uid: str, container: str, command: list[str], options: StreamOptions) -> Session: ...

    async def attach(self, uid: str, container: str, options: StreamOptions) -> Session: ...

    def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]: ...

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """TCP connection to 127.0.0.1:port inside the pod's network namespace (port-forward)."""
