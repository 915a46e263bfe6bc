"""Run a command in a container, as ``kubectl exec`` does: over a WebSocket, without input.

In: an ApiClient, a pod, a command. Out: Executed (exit code, output). KubeError when it could not be started. Called by
``kube.probe``. Protocol: v4.channel.k8s.io, the first byte of each message is the channel; on channel 3 comes the Status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from stockade.kube.client import ApiClient
from stockade.kube.errors import KubeError
from stockade.kube.resources import PODS
from stockade.model.meta import ObjectRef

PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_LIMIT = 64 * 1024  # of output that is kept


class Executed(msgspec.Struct, frozen=True):
    code: int
    output: str


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details = _Details()


async def execute(
    client: ApiClient, pod: ObjectRef, container: str, command: Sequence[str], *, seconds: float
) -> Executed:
    """Raises KubeError, and TimeoutError when the command runs longer than ``seconds``."""
    params = [("container", container), ("stdout", "true"), ("stderr", "true")]
    params += [("command", each) for each in command]
    path = PODS.path(pod.namespace, pod.name, "exec")
    async with asyncio.timeout(seconds), client.websocket(path, params, PROTOCOL) as socket:
        output = bytearray()
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == _ERROR:
                return Executed(_exit_code(data), output.decode(errors="replace"))
            if channel in {_STDOUT, _STDERR}:
                output += data[: _LIMIT - len(output)]
    raise KubeError(0, "", f"the connection to pod {pod} ended before the command did")


def _exit_code(data: bytes) -> int:
    try:
        status = msgspec.json.decode(data, type=_Status)
    except msgspec.DecodeError as error:
        raise KubeError(0, "", f"the command's status cannot be read: {error}") from error
    if status.status == "Success":
        return 0
    for cause in status.details.causes or []:
        if cause.reason == "ExitCode" and cause.message.isdecimal():
            return int(cause.message)
    raise KubeError(0, status.reason, status.message or "the command could not be run")
