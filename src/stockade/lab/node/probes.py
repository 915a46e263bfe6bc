"""Startup, readiness and liveness probes of one running container.

In: the container's spec, and a way to execute a command in it. Out: calls of ``Watcher``: ready or not, started, unhealthy (text), dead.
Called by ``container`` for each run. Probes over the network come from the node (hence always allowed by policy) to the pod's address, as
a kubelet's do. Defaults and meaning: Kubernetes API, Probe v1 core. gRPC probes are not supported: they fail and say so.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

JsonObject = dict[str, Any]
Execute = Callable[[list[str]], Awaitable[tuple[int, str]]]
_STATUS_LINE_LIMIT = 4096

# A server that starts at once is not called unhealthy for the milliseconds until it listens.
_HEAD_START = 0.2


class Connect(Protocol):
    """A TCP connection from the node."""

    async def __call__(
        self, host: str, port: int, *, secure: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


class Watcher(Protocol):
    def set_ready(self, ready: bool) -> None: ...

    def set_started(self) -> None: ...

    def unhealthy(self, kind: str, text: str) -> None: ...

    def dead(self, kind: str) -> None:
        """Failed as often as its threshold allows: the container shall be restarted."""


class Timing(msgspec.Struct, frozen=True, rename="camel"):
    """Fields of a probe; missing ones have the API's defaults."""

    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Target(msgspec.Struct, frozen=True):
    """Where probes of a container go: its pod's address, its named ports, a way into it. ``awake``: cleared while the node is
    paused. ``listens``: from its first moment."""

    address: str
    ports: dict[str, int]
    execute: Execute
    connect: Connect
    listens: bool = False
    awake: asyncio.Event | None = None


async def run(spec: JsonObject, target: Target, watcher: Watcher) -> None:
    """Until cancelled, or until the container is declared dead."""
    if not target.listens:
        await asyncio.sleep(_HEAD_START)
    startup, readiness, liveness = (spec.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness"))
    if startup and not await _starts(startup, target, watcher):
        watcher.dead("startup")
        return
    watcher.set_started()
    async with asyncio.TaskGroup() as group:
        if readiness:
            group.create_task(_watch_readiness(readiness, target, watcher))
        else:
            watcher.set_ready(True)
        if liveness:
            group.create_task(_watch_liveness(liveness, target, watcher))


async def _starts(probe: JsonObject, target: Target, watcher: Watcher) -> bool:
    timing = msgspec.convert(probe, Timing)
    await asyncio.sleep(timing.initial_delay_seconds)
    for _ in range(timing.failure_threshold):
        failure = await check(probe, target)
        if failure is None:
            return True
        watcher.unhealthy("Startup", failure)
        await asyncio.sleep(timing.period_seconds)
    return False


async def _watch_readiness(probe: JsonObject, target: Target, watcher: Watcher) -> None:
    timing = msgspec.convert(probe, Timing)
    await asyncio.sleep(timing.initial_delay_seconds)
    successes = failures = 0
    while True:
        failure = await check(probe, target)
        if failure is None:
            successes, failures = successes + 1, 0
            if successes >= timing.success_threshold:
                watcher.set_ready(True)
        else:
            successes, failures = 0, failures + 1
            watcher.unhealthy("Readiness", failure)
            if failures >= timing.failure_threshold:
                watcher.set_ready(False)
        await asyncio.sleep(timing.period_seconds)


async def _watch_liveness(probe: JsonObject, target: Target, watcher: Watcher) -> None:
    timing = msgspec.convert(probe, Timing)
    await asyncio.sleep(timing.initial_delay_seconds)
    failures = 0
    while failures < timing.failure_threshold:
        failure = await check(probe, target)
        failures = 0 if failure is None else failures + 1
        if failure is not None:
            watcher.unhealthy("Liveness", failure)
        await asyncio.sleep(0 if failures == timing.failure_threshold else timing.period_seconds)
    watcher.dead("liveness")


async def check(probe: JsonObject, target: Target) -> str | None:
    """One attempt; None is success, otherwise what failed. While the node is paused nobody probes."""
    while True:
        if target.awake is not None:
            await target.awake.wait()
        failure = await _check(probe, target)
        if failure is None or target.awake is None or target.awake.is_set():
            return failure


async def _check(probe: JsonObject, target: Target) -> str | None:
    timeout = msgspec.convert(probe, Timing).timeout_seconds
    try:
        async with asyncio.timeout(timeout):
            return await _attempt(probe, target)
    except TimeoutError:
        return (
            f"command timed out after {timeout:g}s" if "exec" in probe else f"no answer within {timeout:g}s"
        )
    except ConnectionError as error:  # in the words of a kubelet
        return f"dial tcp {target.address}: connect: {os.strerror(error.errno or 0).lower()}"
    except (OSError, ValueError) as error:
        return str(error)


async def _attempt(probe: JsonObject, target: Target) -> str | None:
    if "exec" in probe:
        code, output = await target.execute(probe["exec"].get("command") or [])
        return None if code == 0 else output.strip() or f"command terminated with exit code {code}"
    if "httpGet" in probe:
        return await _http(probe["httpGet"], target)
    if "tcpSocket" in probe:
        await _tcp(probe["tcpSocket"], target)
        return None
    return "only exec, httpGet and tcpSocket probes are supported in the lab"


def _port(value: int | str, target: Target) -> int:
    """A number, or the name of one of the container's ports."""
    if isinstance(value, str) and not value.isdecimal():
        if value not in target.ports:
            raise ValueError(f'the container has no port named "{value}"')
        return target.ports[value]
    return int(value)


async def _tcp(what: JsonObject, target: Target) -> None:
    _, writer = await target.connect(what.get("host") or target.address, _port(what["port"], target))
    writer.close()


async def _http(what: JsonObject, target: Target) -> str | None:
    code = await http_status(what, target)
    return None if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


async def http_status(what: JsonObject, target: Target) -> int:
    """What the server answers to an HTTPGetAction. Raises OSError, ValueError."""
    host, port = what.get("host") or target.address, _port(what["port"], target)
    secure = (what.get("scheme") or "HTTP").upper() == "HTTPS"
    reader, writer = await target.connect(host, port, secure=_unverified() if secure else None)
    try:
        headers = {
            "Host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "User-Agent": "kube-probe/1.33",
            "Accept": "*/*",
            "Connection": "close",
        }
        headers |= {entry["name"]: entry["value"] for entry in what.get("httpHeaders") or []}
        lines = [
            f"GET {what.get('path') or '/'} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = (await reader.readline())[:_STATUS_LINE_LIMIT].split()
    finally:
        writer.close()
    if len(answer) < 2 or not answer[1].isdigit():
        raise ValueError("malformed HTTP response")
    return int(answer[1])


def _unverified() -> ssl.SSLContext:
    """A kubelet does not verify the certificate of what it probes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
