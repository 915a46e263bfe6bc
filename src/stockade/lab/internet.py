"""The simulated Internet: a network namespace beyond the node, where a few well-known names live.

In: nothing but the node's network namespace (that of the thread that starts it). Out: a default route for the node; behind it
web pages for ``www.example.com`` and ``google.com``, hosts that answer ping (the kernel does), and a resolver on port 53 of one of
them, which shows that a rule "port 53" without ``to`` reaches any host's port 53. Run by the lab's cluster. There is no
address translation between pods and outside: policies see the real addresses of both. What does not exist outside is
answered with "host unreachable", so that it is not mistaken for a denial.

    node 192.0.2.1 <veth> 192.0.2.2 outside: 93.184.216.34, 74.125.129.101 on lo
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from http import HTTPStatus

from stockade.dataplane.netlink import NetlinkSocket
from stockade.lab.addresses import (
    CLUSTER_CIDR,
    GOOGLE_IP,
    LOAD_BALANCER_CIDR,
    NODE_IP,
    OUTSIDE_NAMES,
    OUTSIDE_NODE,
    OUTSIDE_PEER,
    OUTSIDE_RESOLVER,
)
from stockade.lab.dns.records import outside_zone
from stockade.lab.dns.server import Listener
from stockade.lab.dns.wire import Responder
from stockade.lab.node import links, netns
from stockade.lab.node.network import write_sysctl

_NODE_LINK, _NODE_INDEX = "outside0", 901  # below the numbers of the pods' links
_OUTSIDE_LINK, _OUTSIDE_INDEX = "uplink0", 100
_REQUEST_SECONDS = 10.0

_EXAMPLE_PAGE = """<!doctype html>
<html>
<head><title>Example Domain</title></head>
<body>
<h1>Example Domain</h1>
<p>This page is served by a simulated Internet on your own machine. No packet left it.</p>
</body>
</html>
"""
_SEARCH_PAGE = """<!doctype html>
<html>
<head><title>Search</title></head>
<body>
<h1>Search</h1>
<p>This stands in for a well-known search page in a simulated Internet on your own machine.</p>
</body>
</html>
"""


class Internet:
    """Start once, in the node's namespace; stop takes the link away and ends the servers. ``fd``: the namespace outside."""

    def __init__(self, node_address: str = NODE_IP, pods: str = CLUSTER_CIDR) -> None:
        self._node_address = node_address
        self._pods = pods
        self.fd = -1
        self._web: asyncio.Server | None = None
        self._resolver = Listener(
            self,
            lambda query, stream: _RESPONDER.respond(query, stream=stream),
            address=OUTSIDE_RESOLVER,
        )

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> socket.socket:
        """A socket outside."""
        return netns.open_socket(self.fd, family, kind, proto)

    async def start(self) -> None:
        """Answering when this returns. OSError (NetlinkError) when the kernel refuses."""
        self._connect()
        listener = self.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 80))  # noqa: S104  # every address of the simulated Internet is a web server
        self._web = await asyncio.start_server(_serve_page, sock=listener)
        await self._resolver.start()

    async def stop(self) -> None:
        """Idempotent."""
        await self._resolver.stop()
        if self._web is not None:
            self._web.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            with (
                NetlinkSocket() as node,
                contextlib.suppress(OSError),
            ):  # the link may be gone with its other end
                node.execute(links.delete_link(_NODE_INDEX))

    def _connect(self) -> None:
        outside = netns.inside_new(_open_outside)
        try:
            self.fd = netns.namespace_of(outside.fileno())
            with NetlinkSocket() as node:
                node.execute(
                    links.create_veth(_NODE_LINK, _NODE_INDEX, _OUTSIDE_LINK, _OUTSIDE_INDEX, self.fd),
                    links.add_address(_NODE_INDEX, OUTSIDE_NODE, 30),
                    links.set_up(_NODE_INDEX),
                )
                outside.execute(
                    links.set_up(links.LOOPBACK),
                    *(links.add_address(links.LOOPBACK, ip) for ip in dict.fromkeys(OUTSIDE_NAMES.values())),
                    links.add_address(_OUTSIDE_INDEX, OUTSIDE_PEER, 30),
                    links.set_up(_OUTSIDE_INDEX),
                    links.add_route(self._pods, _OUTSIDE_INDEX, via=OUTSIDE_NODE),
                    links.add_route(LOAD_BALANCER_CIDR, _OUTSIDE_INDEX, via=OUTSIDE_NODE),
                    links.add_route(f"{self._node_address}/32", _OUTSIDE_INDEX, via=OUTSIDE_NODE),
                    links.add_unreachable("0.0.0.0/0"),
                )
                links.carrier(node.fileno(), _NODE_LINK)
                node.execute(
                    links.add_route("0.0.0.0/0", _NODE_INDEX, via=OUTSIDE_PEER, source=self._node_address)
                )
        finally:
            outside.close()


_RESPONDER = Responder(outside_zone(OUTSIDE_NAMES))


def _open_outside() -> NetlinkSocket:
    """Runs in the new namespace. It "forwards", so that the unreachable default route is reported to the sender."""
    write_sysctl("net/ipv4/ip_forward", "1")
    write_sysctl("net/ipv4/icmp_ratelimit", "0")
    write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    return NetlinkSocket()


async def _serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request per connection: HTTP/1.0 and 1.1 clients both understand ``Connection: close``."""
    with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(head, writer.get_extra_info("sockname")[0]))
            await writer.drain()
    writer.close()


def _response(head: bytes, address: str) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0]
    status, page = HTTPStatus.OK, _SEARCH_PAGE if address == GOOGLE_IP else _EXAMPLE_PAGE
    if method not in {b"GET", b"HEAD"}:
        status, page = HTTPStatus.METHOD_NOT_ALLOWED, ""
    elif path not in {b"/", b"/index.html"}:
        status, page = HTTPStatus.NOT_FOUND, "<h1>Not Found</h1>\n"
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(page)}",
        "Connection: close",
    )
    body = "" if method == b"HEAD" else page
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
