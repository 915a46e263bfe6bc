"""One exec or attach session, pumped between the node's ``Session`` and a client, whatever the transport.

        client ──stdin, resize──►  Client.feed ──► Session.write, close_stdin, resize
        client ◄──stdout, stderr── pump        ◄── Session.stdout, Session.stderr
        client ◄──error channel──  Client.finish ◄─ the Status made of Session.wait

Called by ``remotecommand``; ``websocket`` and ``remotespdy`` implement ``Client``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.node.runtime import Session

_READ = 1 << 15
_IDLE = 0.5
"""Seconds without output after the process ended until we stop: a process it left behind may keep the pipe open for ever."""


class Channel(IntEnum):
    """Numbers of the WebSocket form; SPDY names its streams by the same words, in lower case."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


class TerminalSize(msgspec.Struct, frozen=True, rename="pascal"):
    width: int = 0
    height: int = 0


class Client(Protocol):
    """The far end of a session."""

    async def feed(self, session: Session) -> None:
        """Carry the client's input to ``session``; returns when the client is gone."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Raises ConnectionError when the client is gone."""

    async def finish(self, status: JsonObject) -> None:
        """Say how it ended and close."""


def resize(session: Session, message: bytes) -> None:
    """``{"Width":80,"Height":24}``; what is not readable is no reason to end a session."""
    try:
        size = msgspec.json.decode(message, type=TerminalSize)
    except msgspec.DecodeError:
        return
    if 0 < size.width < 1 << 16 and 0 < size.height < 1 << 16:
        session.resize(size.width, size.height)


class _Pump:
    """Copies one output to the client, and can tell whether it still has work."""

    def __init__(self, client: Client, channel: Channel, source: asyncio.StreamReader) -> None:
        self._client = client
        self._channel = channel
        self._source = source
        self._moved = 0
        self._sending = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while chunk := await self._read():
            self._sending = True
            await self._client.send(self._channel, chunk)
            self._sending = False
            self._moved += len(chunk)

    async def _read(self) -> bytes:
        try:
            return await self._source.read(_READ)
        except OSError:  # a terminal without processes answers EIO
            return b""

    async def drain(self) -> None:
        """After the process ended: wait for the end of its output, or until nothing more comes."""
        moved = -1
        while not self.task.done() and (self._sending or self._moved != moved):
            moved = self._moved
            await asyncio.wait({self.task}, timeout=_IDLE)


async def run_session(client: Client, session: Session, final: Callable[[int], JsonObject]) -> None:
    """Until the process ends (the client hears ``final`` of its exit code) or the client goes."""
    outputs = ((Channel.STDOUT, session.stdout), (Channel.STDERR, session.stderr))
    pumps = [_Pump(client, channel, source) for channel, source in outputs if source is not None]
    feeding = asyncio.create_task(client.feed(session))
    exiting = asyncio.create_task(session.wait())
    tasks: list[asyncio.Task[None] | asyncio.Task[int]] = [feeding, exiting, *(pump.task for pump in pumps)]
    try:
        await asyncio.wait({feeding, exiting}, return_when=asyncio.FIRST_COMPLETED)
        if exiting.done():
            for pump in pumps:
                await pump.drain()
            if not feeding.done():
                await client.finish(final(exiting.result()))
    except ConnectionError:
        pass  # the client went away while we said good-bye
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await session.close()
