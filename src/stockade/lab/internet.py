"""The simulated Internet: a network namespace beyond the nodes, where a few well-known names live; and the router between the nodes.

In: the nodes' plans and network namespaces. Out: a default route for each node; behind it the other nodes and their pods, and
web pages for ``www.example.com`` and ``google.com``, hosts that answer ping (the kernel does), and a resolver on port 53 of one of
them, which shows that a rule "port 53" without ``to`` reaches any host's port 53. Run by the lab's cluster. There is no
address translation between pods and outside, nor between nodes: policies see the real addresses of both. What does not exist outside is
answered with "host unreachable", so that it is not mistaken for a denial.

    node 1  192.0.2.1 <veth> 192.0.2.2   outside: 93.184.216.34, 74.125.129.101 … on lo
    node 2  192.0.2.5 <veth> 192.0.2.6   routes to each node's address and pod CIDRs
            fe80::2  <veth>  fe80::1     the same for IPv6
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from http import HTTPStatus

from stockade.dataplane.netlink import NetlinkSocket, Request
from stockade.lab.addresses import (
    GOOGLE_IP,
    GOOGLE_IP_6,
    LOAD_BALANCER_CIDR,
    LOAD_BALANCER_CIDR_6,
    OUTSIDE_6,
    OUTSIDE_NAMES,
    OUTSIDE_NAMES_6,
    OUTSIDE_RESOLVER,
    UPLINK_NODE_6,
    UPLINK_PEER_6,
)
from stockade.lab.dns.records import outside_zone
from stockade.lab.dns.server import Listener
from stockade.lab.dns.wire import Responder
from stockade.lab.node import links, netns
from stockade.lab.node.network import IPV6_ROUTER, NO_IPV6, is_ipv6, write_sysctls
from stockade.lab.topology import NodePlan

NODE_LINK, _NODE_INDEX = "outside0", 901  # below the numbers of the pods' links
_OUTSIDE_LINK, _OUTSIDE_INDEX = "uplink", 100
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
    """Start once, then connect each node; stop takes the links away and ends the servers. ``fd``: the namespace outside."""

    def __init__(self, *, ipv6: bool = True) -> None:
        self._ipv6 = ipv6
        self.fd = -1
        self._links: NetlinkSocket | None = None
        self._nodes: list[int] = []
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
        """Answering when this returns, for whoever is connected. OSError (NetlinkError) when the kernel refuses."""
        self._open()
        listener = self.socket(socket.AF_INET6 if self._ipv6 else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::" if self._ipv6 else "0.0.0.0", 80))  # noqa: S104  # every address of the simulated Internet is a web server
        self._web = await asyncio.start_server(_serve_page, sock=listener)
        await self._resolver.start()

    async def stop(self) -> None:
        """Idempotent."""
        await self._resolver.stop()
        if self._web is not None:
            self._web.close()
        if self._links is not None:
            for index in self._nodes:
                with contextlib.suppress(OSError):  # the link may be gone with its other end
                    self._links.execute(links.delete_link(index))
            self._links.close()
            self._links = None
            os.close(self.fd)
            self.fd = -1

    def _open(self) -> None:
        self._links = netns.inside_new(lambda: _open_outside(ipv6=self._ipv6))
        self.fd = netns.namespace_of(self._links.fileno())
        hosts = dict.fromkeys(OUTSIDE_NAMES.values())
        hosts_6 = dict.fromkeys((OUTSIDE_6, *OUTSIDE_NAMES_6.values())) if self._ipv6 else {}
        self._links.execute(
            links.set_up(links.LOOPBACK),
            *(links.add_address(links.LOOPBACK, ip) for ip in (*hosts, *hosts_6)),
            links.add_unreachable("0.0.0.0/0"),
            *([links.add_unreachable("::/0")] if self._ipv6 else []),
        )

    def connect(self, node: NodePlan, fd: int) -> None:
        """A link, with routes both ways, to the node whose network namespace is ``fd``."""
        assert self._links is not None
        index = _OUTSIDE_INDEX + node.number
        name = f"{_OUTSIDE_LINK}{node.number}"
        with netns.inside(fd, NetlinkSocket) as inside:
            inside.execute(
                links.create_veth(NODE_LINK, _NODE_INDEX, name, index, self.fd),
                links.add_address(_NODE_INDEX, node.uplink, 30),
                links.set_up(_NODE_INDEX),
            )
            self._links.execute(
                links.add_address(index, node.uplink_peer, 30),
                links.set_up(index),
                *_routes(node, index),
            )
            links.carrier(inside.fileno(), NODE_LINK)
            inside.execute(*_default_routes(node))
        self._nodes.append(index)


def _routes(node: NodePlan, index: int) -> list[Request]:
    """From outside to the node and its pods; the load balancer's addresses are on the first node."""
    requests = [links.add_address(index, UPLINK_PEER_6, 64)] if len(node.addresses) > 1 else []
    both = (LOAD_BALANCER_CIDR, LOAD_BALANCER_CIDR_6)[: len(node.addresses)]
    balanced = both if node.number == 1 else ()
    for destination in (*node.addresses, *node.pod_cidrs, *balanced):
        via = UPLINK_NODE_6 if is_ipv6(destination) else node.uplink
        requests.append(links.add_route(destination, index, via=via))
    return requests


def _default_routes(node: NodePlan) -> list[Request]:
    requests = []
    for address in node.addresses:
        if is_ipv6(address):
            requests.append(links.add_address(_NODE_INDEX, UPLINK_NODE_6, 64))
            requests.append(links.add_route("::/0", _NODE_INDEX, via=UPLINK_PEER_6, source=address))
        else:
            requests.append(links.add_route("0.0.0.0/0", _NODE_INDEX, via=node.uplink_peer, source=address))
    return requests


_RESPONDER = Responder(outside_zone(OUTSIDE_NAMES, OUTSIDE_NAMES_6))


def _open_outside(*, ipv6: bool) -> NetlinkSocket:
    """Runs in the new namespace. It forwards: between the nodes, and so that the unreachable default route is reported to the sender."""
    forwarding = {"net/ipv4/ip_forward": "1", "net/ipv4/icmp_ratelimit": "0"}
    write_sysctls({**forwarding, **(IPV6_ROUTER if ipv6 else NO_IPV6)})
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
    status, page = (
        HTTPStatus.OK,
        _SEARCH_PAGE if address.removeprefix("::ffff:") in {GOOGLE_IP, GOOGLE_IP_6} else _EXAMPLE_PAGE,
    )
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
