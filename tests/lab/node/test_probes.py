"""Probes over the network against servers on loopback, and thresholds with a scripted exec."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from stockade.lab.node import probes


async def no_exec(argv: list[str]) -> tuple[int, str]:
    raise AssertionError(argv)


async def connect(host, port, *, secure=None):
    return await asyncio.open_connection(host, port, ssl=secure)


def target(execute=no_exec, **ports: int) -> probes.Target:
    return probes.Target(address="127.0.0.1", ports=ports, execute=execute, connect=connect)


@contextlib.asynccontextmanager
async def http_server(status_line: str, requests: list[str]):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"{status_line}\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("status_line", "expected"),
    [
        ("HTTP/1.1 200 OK", None),
        ("HTTP/1.1 302 Found", None),
        ("HTTP/1.1 404 Not Found", "HTTP probe failed with statuscode: 404"),
        ("HTTP/1.1 500 Oops", "HTTP probe failed with statuscode: 500"),
        ("hello", "malformed HTTP response"),
    ],
)
async def test_http(status_line, expected) -> None:
    requests: list[str] = []
    async with http_server(status_line, requests) as port:
        probe = {
            "httpGet": {"port": "web", "path": "/healthz", "httpHeaders": [{"name": "X-A", "value": "b"}]}
        }
        assert await probes.check(probe, target(web=port)) == expected
    assert requests[0].startswith("GET /healthz HTTP/1.1\r\n")
    assert "\r\nX-A: b\r\n" in requests[0]


async def test_tcp_and_what_goes_wrong() -> None:
    async with http_server("", []) as port:
        assert await probes.check({"tcpSocket": {"port": port}}, target()) is None
    assert (
        await probes.check({"tcpSocket": {"port": port}}, target())
        == "dial tcp 127.0.0.1: connect: connection refused"
    )
    failure = await probes.check({"tcpSocket": {"port": "nope"}}, target())
    assert failure == 'the container has no port named "nope"'
    assert "supported" in (await probes.check({"grpc": {"port": 1}}, target()) or "")


async def test_exec_result_and_timeout() -> None:
    async def run(argv: list[str]) -> tuple[int, str]:
        if argv == ["hang"]:
            await asyncio.sleep(60)
        return (0, "") if argv == ["true"] else (3, "")

    assert await probes.check({"exec": {"command": ["true"]}}, target(run)) is None
    assert (
        await probes.check({"exec": {"command": ["false"]}}, target(run))
        == "command terminated with exit code 3"
    )
    hanging = {"exec": {"command": ["hang"]}, "timeoutSeconds": 0.01}
    assert await probes.check(hanging, target(run)) == "command timed out after 0.01s"


class Record:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def set_ready(self, ready: bool) -> None:
        self.calls.append("ready" if ready else "unready")

    def set_started(self) -> None:
        self.calls.append("started")

    def unhealthy(self, kind: str, text: str) -> None:
        self.calls.append(f"{kind} failed")

    def dead(self, kind: str) -> None:
        self.calls.append(f"{kind} dead")


async def observe(spec: dict, results: Iterable[int]) -> list[str]:
    """The calls made until the scripted results are used up."""
    script, record = iter(results), Record()
    finished = asyncio.Event()

    async def execute(argv: list[str]) -> tuple[int, str]:
        code = next(script, None)
        if code is None:
            finished.set()
            await asyncio.sleep(60)
        return code or 0, ""

    running = asyncio.create_task(probes.run(spec, target(execute), record))
    waiting = asyncio.create_task(finished.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=5)
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    return record.calls


def probe(**fields: int) -> dict:
    return {"exec": {"command": ["x"]}, "periodSeconds": 0, **fields}


async def test_readiness_thresholds() -> None:
    spec = {"readinessProbe": probe(successThreshold=2, failureThreshold=2)}
    assert await observe(spec, [0, 0, 1, 0, 1, 1]) == [
        "started",
        "ready",
        "Readiness failed",
        "Readiness failed",
        "Readiness failed",
        "unready",
    ]


async def test_liveness_needs_failures_in_a_row() -> None:
    spec = {"livenessProbe": probe(failureThreshold=2)}
    calls = await observe(spec, [1, 0, 1, 1])
    assert calls == ["started", "ready", *["Liveness failed"] * 3, "liveness dead"]


async def test_startup_comes_first() -> None:
    spec = {"startupProbe": probe(failureThreshold=3), "readinessProbe": probe()}
    assert await observe(spec, [1, 1, 0, 0]) == ["Startup failed", "Startup failed", "started", "ready"]
    assert await observe(spec, [1, 1, 1]) == ["Startup failed"] * 3 + ["startup dead"]
