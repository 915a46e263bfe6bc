"""exec and attach over SPDY/3.1: one SPDY stream per channel, told apart by its ``streamtype`` header.

kubectl before 1.30 uses this, and newer ones fall back to it. The remote command protocol (v4 … v2, header
X-Stream-Protocol-Version) decides what the error stream says at the end: from v4 on a Status, before that plain text.
In: a link whose upgrade was answered. Called by ``remotecommand``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.streams.channels import Channel, resize
from stockade.lab.apiserver.streams.links import Link
from stockade.lab.apiserver.streams.mux import SpdyConnection, SpdyStream
from stockade.lab.node.runtime import Session, StreamOptions

PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io")
_OPEN_TIMEOUT = 30.0


def expected_streams(options: StreamOptions, protocol: str) -> set[str]:
    """The streams a client opens for ``options`` before anything may start."""
    wanted = {"error": True, "stdin": options.stdin, "stdout": options.stdout}
    wanted["stderr"] = options.stderr and not options.tty
    wanted["resize"] = options.tty and protocol != "v2.channel.k8s.io"
    return {name for name, given in wanted.items() if given}


class SpdyClient:
    def __init__(self, link: Link, protocol: str) -> None:
        self._connection = SpdyConnection(link)
        self._protocol = protocol
        self._streams: dict[str, SpdyStream] = {}
        self._serving = asyncio.create_task(self._connection.serve())

    async def open(self, names: Collection[str]) -> bool:
        """Wait for the client's streams; False when it went away or takes too long."""
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                while not set(names) <= self._streams.keys():
                    stream = await self._connection.accept()
                    if stream is None:
                        return False
                    self._streams[stream.headers.get("streamtype", "").lower()] = stream
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Whatever happened, the connection goes."""
        await self._connection.close(self._serving)

    async def feed(self, session: Session) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._feed_stdin(session)),
                group.create_task(self._feed_size(session)),
            ]
            await asyncio.wait({self._serving})
            for task in tasks:
                task.cancel()

    async def _feed_stdin(self, session: Session) -> None:
        if stream := self._streams.get("stdin"):
            while chunk := await stream.read():
                await session.write(chunk)
            await session.close_stdin()

    async def _feed_size(self, session: Session) -> None:
        if stream := self._streams.get("resize"):
            pending = b""
            while chunk := await stream.read():
                *messages, pending = (pending + chunk).replace(b"}", b"}\n").split(b"\n")
                for message in messages:
                    resize(session, message)

    async def send(self, channel: Channel, data: bytes) -> None:
        if stream := self._streams.get(channel.name.lower()):
            await stream.write(data)

    async def finish(self, status: JsonObject) -> None:
        if status["status"] != "Success" or self._protocol == PROTOCOLS[0]:
            as_text = self._protocol != PROTOCOLS[0]
            await self.send(
                Channel.ERROR, status["message"].encode() if as_text else msgspec.json.encode(status)
            )
        await self._connection.finish(self._serving)
