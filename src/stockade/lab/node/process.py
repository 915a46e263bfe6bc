"""A process together with its standard streams: what containers and exec share.

In: how to spawn (``Spawner`` bound to a container or an exec), which streams. Out: ``Piped``. Also the two kinds of ``Session`` of
``runtime``: an exec owns its process, an attach only looks at a container's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable

from stockade.lab.node.runtime import StreamOptions
from stockade.lab.node.spawner import Process, Streams
from stockade.lab.node.streams import Input, Output

Spawn = Callable[[Streams], Awaitable[Process]]
OnOutput = Callable[[bytes, str], None]


class Piped:
    """A running process; with a tty ``stdout`` carries everything and ``stderr`` is None."""

    def __init__(self, process: Process, stdin: Input | None, stdout: Output, stderr: Output | None) -> None:
        self.process = process
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    async def wait(self) -> int:
        """Exit status, 128 + signal when killed; the streams are at their end then. One caller only."""
        status = await self.process.wait()
        self.stdout.finish()
        if self.stderr is not None:
            self.stderr.finish()
        if self.stdin is not None:
            self.stdin.finish()
        return status if status >= 0 else 128 - status


async def spawn_piped(
    spawn: Spawn,
    *,
    stdin: bool,
    tty: bool,
    on_output: OnOutput | None = None,
    feed: socket.socket | None = None,
) -> Piped:
    """Raises StartError. ``on_output`` gets every piece with the name of its stream. ``feed``: see ``Streams``; it stays the caller's."""
    fed = None if feed is None else feed.fileno()

    def sink(stream: str) -> Callable[[bytes], None] | None:
        return None if on_output is None else lambda data: on_output(data, stream)

    if tty:
        process = await spawn(Streams(feed=fed))
        assert process.terminal is not None
        keyboard = Input(os.dup(process.terminal), terminal=True) if stdin else None
        return Piped(process, keyboard, Output(process.terminal, sink("stdout")), None)
    theirs: list[int] = []
    ours: list[int] = []
    try:
        for wanted in (stdin, True, True):
            if wanted:
                read, write = os.pipe2(os.O_CLOEXEC)
                is_input = stdin and not theirs
                theirs.append(read if is_input else write)
                ours.append(write if is_input else read)
        *first, out, err = theirs
        streams = Streams(stdin=first[0] if first else None, stdout=out, stderr=err, feed=fed)
        process = await spawn(streams)
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    *first, out, err = ours
    return Piped(
        process, Input(first[0]) if first else None, Output(out, sink("stdout")), Output(err, sink("stderr"))
    )


_Reader = asyncio.StreamReader | None


def _subscribe(piped: Piped, options: StreamOptions) -> tuple[_Reader, _Reader]:
    """Only what was asked for: output that nobody reads would make the process wait."""
    wants_stdout = options.stdout or piped.stderr is None
    stdout = piped.stdout.subscribe() if wants_stdout else None
    stderr = piped.stderr.subscribe() if options.stderr and piped.stderr is not None else None
    return stdout, stderr


def _unsubscribe(piped: Piped, stdout: _Reader, stderr: _Reader) -> None:
    if stdout is not None:
        piped.stdout.unsubscribe(stdout)
    if stderr is not None and piped.stderr is not None:
        piped.stderr.unsubscribe(stderr)


class ExecSession:
    """``runtime.Session`` of an exec: ends with its client."""

    def __init__(self, piped: Piped, options: StreamOptions) -> None:
        self._piped = piped
        self.stdout, self.stderr = _subscribe(piped, options)
        self._ended = asyncio.ensure_future(piped.wait())

    async def write(self, data: bytes) -> None:
        if self._piped.stdin is not None:
            await self._piped.stdin.write(data)

    async def close_stdin(self) -> None:
        if self._piped.stdin is not None:
            self._piped.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._piped.stdin is not None:
            self._piped.stdin.resize(columns, rows)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        self._piped.process.kill_group(signal.SIGKILL)
        _unsubscribe(self._piped, self.stdout, self.stderr)


class AttachSession:
    """``runtime.Session`` of an attach: live output of a container, and its stdin; the container goes on afterwards."""

    def __init__(
        self, piped: Piped, ended: asyncio.Future[int], options: StreamOptions, *, stdin_once: bool
    ) -> None:
        self._piped = piped
        self._ended = ended
        self._stdin = piped.stdin if options.stdin else None
        self._stdin_once = stdin_once
        self.stdout, self.stderr = _subscribe(piped, options)

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """Container v1 core, stdinOnce: the first attach that ends its input ends the container's."""
        if self._stdin is not None and self._stdin_once:
            self._stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._piped.stdin is not None:
            self._piped.stdin.resize(columns, rows)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        await self.close_stdin()
        _unsubscribe(self._piped, self.stdout, self.stderr)
