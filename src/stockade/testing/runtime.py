"""A ``lab.node.runtime.Runtime`` of plain local processes, for tests of the API server's streaming endpoints.

``start`` runs a command as the main process of a container; exec runs further ones; nothing is isolated.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator

from stockade.lab.node.runtime import LogOptions, NotRunningError, Session, StreamOptions


class LocalProcess:
    """A local process on pipes or on a terminal; its output is recorded and copied to every listener."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self.process = process
        self._terminal = terminal
        self.record = bytearray()
        self.grown = asyncio.Event()
        self._listeners: list[dict[str, asyncio.StreamReader]] = []
        self._copying: list[asyncio.Task[None]] = []

    @classmethod
    async def spawn(cls, argv: list[str], *, stdin: bool, tty: bool) -> LocalProcess:
        if not tty:
            pipe = asyncio.subprocess.PIPE
            given = pipe if stdin else asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=given, stdout=pipe, stderr=pipe, start_new_session=True
            )
            return cls(process, None)
        terminal, other = os.openpty()
        process = await asyncio.create_subprocess_exec(
            "setsid", "-c", *argv, stdin=other, stdout=other, stderr=other
        )
        os.close(other)
        return cls(process, terminal)

    async def begin(self) -> None:
        """Start copying output; listen first, so that nothing is lost."""
        if self._terminal is None:
            sources = {"stdout": self.process.stdout, "stderr": self.process.stderr}
        else:
            reader = asyncio.StreamReader()
            pipe = os.fdopen(os.dup(self._terminal), "rb", 0)
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
            sources = {"stdout": reader}
        self._copying = [
            asyncio.create_task(self._copy(name, source))
            for name, source in sources.items()
            if source is not None
        ]

    async def _copy(self, name: str, source: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(1 << 16):
                self.record += chunk
                self.grown.set()
                for listener in self._listeners:
                    if name in listener:
                        listener[name].feed_data(chunk)
        for listener in self._listeners:
            if name in listener:
                listener[name].feed_eof()

    def listen(self, options: StreamOptions) -> dict[str, asyncio.StreamReader]:
        wanted = {"stdout": options.stdout, "stderr": options.stderr and self._terminal is None}
        readers = {name: asyncio.StreamReader() for name, given in wanted.items() if given}
        self._listeners.append(readers)
        return readers

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._terminal is not None:
                os.write(self._terminal, data)
            elif self.process.stdin is not None:
                self.process.stdin.write(data)
                await self.process.stdin.drain()

    def close_stdin(self) -> None:
        if self._terminal is None and self.process.stdin is not None:
            self.process.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        """asyncio's own wait also waits for the pipes, which a child may keep open."""
        while self.process.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.wait()
        await asyncio.wait(self._copying, timeout=1) if self._copying else None
        for task in self._copying:
            task.cancel()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        self.grown.set()


class LocalSession:
    """exec (``own``: the process goes with the client) or attach."""

    def __init__(self, process: LocalProcess, options: StreamOptions, *, own: bool) -> None:
        readers = process.listen(options)
        self.stdout: asyncio.StreamReader | None = readers.get("stdout")
        self.stderr: asyncio.StreamReader | None = readers.get("stderr")
        self._process = process
        self._own = own
        self.closed = False

    async def write(self, data: bytes) -> None:
        await self._process.write(data)

    async def close_stdin(self) -> None:
        self._process.close_stdin()

    def resize(self, columns: int, rows: int) -> None:
        self._process.resize(columns, rows)

    async def wait(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        self.closed = True
        if self._own:
            await self._process.stop()


class LocalRuntime:
    """``sessions`` lists every exec and attach, for tests that look at what became of them."""

    def __init__(self) -> None:
        self.sessions: list[LocalSession] = []
        self._containers: dict[tuple[str, str], LocalProcess] = {}

    async def start(
        self, uid: str, container: str, argv: list[str], *, stdin: bool = False, tty: bool = False
    ) -> LocalProcess:
        process = await LocalProcess.spawn(argv, stdin=stdin, tty=tty)
        self._containers[uid, container] = process
        await process.begin()
        return process

    async def stop(self) -> None:
        """End every process that is left."""
        for session in self.sessions:
            await session.close()
        for process in self._containers.values():
            await process.stop()

    def _container(self, uid: str, container: str) -> LocalProcess:
        try:
            return self._containers[uid, container]
        except KeyError:
            raise NotRunningError(f'container not found ("{container}")') from None

    async def exec(self, uid: str, container: str, command: list[str], options: StreamOptions) -> Session:
        self._container(uid, container)
        try:
            process = await LocalProcess.spawn(command, stdin=options.stdin, tty=options.tty)
        except OSError as error:
            raise NotRunningError(f'exec: "{command[0]}": {error.strerror}') from error
        session = LocalSession(process, options, own=True)
        self.sessions.append(session)
        await process.begin()
        return session

    async def attach(self, uid: str, container: str, options: StreamOptions) -> Session:
        session = LocalSession(self._container(uid, container), options, own=False)
        self.sessions.append(session)
        return session

    async def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Only ``follow``, ``tail_lines`` and ``limit_bytes`` are obeyed."""
        process = self._container(uid, container)
        lines = bytes(process.record).splitlines(keepends=True)
        kept = lines if options.tail_lines is None else lines[max(0, len(lines) - options.tail_lines) :]
        sent = sum(map(len, lines))
        yield b"".join(kept)[: options.limit_bytes]
        while options.follow:
            if len(process.record) > sent:
                chunk = bytes(process.record[sent:])
                sent += len(chunk)
                yield chunk
            elif process.process.returncode is not None:
                return
            else:
                process.grown.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.grown.wait(), 0.1)

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # noqa: ARG002 - one address for all pods
        return await asyncio.open_connection("127.0.0.1", port)
