"""exec and attach over WebSocket: subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006).

Each message is one byte of channel number and the data. v5 adds 255 followed by a channel number: the client closes that
channel (``exec -i`` at the end of its stdin). In: the prepared socket. Called by ``remotecommand``.
"""

from __future__ import annotations

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.streams.channels import Channel, resize
from stockade.lab.node.runtime import Session

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


def offered_protocols(request: web.Request) -> list[str]:
    """The client's subprotocols: several headers, or one with commas."""
    values = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


class WebSocketClient:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def feed(self, session: Session) -> None:
        """A text message is taken as its bytes: some clients send stdin that way."""
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._receive(session, message.data.encode())
            elif message.type is WSMsgType.BINARY:
                await self._receive(session, bytes(message.data))

    async def _receive(self, session: Session, message: bytes) -> None:
        match message[:1]:
            case b"\x00" if len(message) > 1:
                await session.write(message[1:])
            case b"\x04":
                resize(session, message[1:])
            case b"\xff" if message[1:2] == bytes([Channel.STDIN]):
                await session.close_stdin()

    async def send(self, channel: Channel, data: bytes) -> None:
        await self._socket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: JsonObject) -> None:
        await self.send(Channel.ERROR, msgspec.json.encode(status))
        await self._socket.close(code=WSCloseCode.OK)
