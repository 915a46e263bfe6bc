"""Health checks for load balancers: has this node endpoints of a Service whose external traffic stays on the node?

In: Services of type LoadBalancer with ``externalTrafficPolicy: Local``, how many endpoints each has here. Out: HTTP on each Service's
``healthCheckNodePort`` of the node: 200 when there are some, else 503, with the number as JSON. Called by ``lab.proxy.proxy``. Form of the answer: kube-proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import ServiceKey
from stockade.lab.proxy.targets import Target

_SECONDS = 5.0
_log = logging.getLogger(__name__)
OpenSocket = Callable[[int], socket.socket]
"""A TCP socket of a family (AF_INET …) in the node's network."""


class HealthChecks:
    """``follow`` after every change. A port that cannot be had (a pod of the node's network has it) is said once and left."""

    def __init__(self, addresses: Sequence[str], opener: OpenSocket) -> None:
        self._addresses = addresses
        self._open = opener
        self._servers: dict[int, list[asyncio.Server]] = {}
        self._answers: Mapping[int, tuple[ServiceKey, int]] = {}

    async def follow(self, services: Iterable[JsonObject], targets: Iterable[Target]) -> None:
        self._answers = _answers(services, targets)
        for port in set(self._servers) - set(self._answers):
            for server in self._servers.pop(port):
                server.close()
        for port in set(self._answers) - set(self._servers):
            tried = [await self._serve(address, port) for address in self._addresses]
            self._servers[port] = [server for server in tried if server is not None]

    def close(self) -> None:
        for servers in self._servers.values():
            for server in servers:
                server.close()
        self._servers.clear()

    async def _serve(self, address: str, port: int) -> asyncio.Server | None:
        listener = self._open(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            return await asyncio.start_server(lambda r, w: self._answer(port, r, w), sock=listener)
        except OSError as error:
            listener.close()
            _log.warning("health checks on %s port %d: %s", address, port, error)
            return None

    async def _answer(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                (namespace, name), number = self._answers.get(port, (("", ""), 0))
                body = msgspec.json.encode(
                    {
                        "service": {"namespace": namespace, "name": name},
                        "localEndpoints": number,
                        "serviceProxyHealthy": True,
                    }
                )
                status = "200 OK" if number else "503 Service Unavailable"
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()


def _answers(services: Iterable[JsonObject], targets: Iterable[Target]) -> dict[int, tuple[ServiceKey, int]]:
    here: dict[ServiceKey, set[str]] = {}
    for target in targets:
        if target.kind:
            addresses = {address for address, _ in target.endpoints}
            here.setdefault((target.namespace, target.service), set()).update(addresses)
    found = {}
    for service in services:
        metadata, spec = service["metadata"], service.get("spec") or {}
        port = spec.get("healthCheckNodePort")
        if port and spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            key = (metadata["namespace"], metadata["name"])
            addresses = here.get(key, set())
            of_ipv6 = sum(":" in address for address in addresses)
            found[int(port)] = (key, max(of_ipv6, len(addresses) - of_ipv6))  # a pod of both families is one
    return found
