"""One node and its pods as network namespaces, wired as the lab wires them: routed /32 and /128 veths, no bridge.

In: names and addresses. Out: sockets in pods and in the node. Called by the kernel tests and ``stockade.testing.starts``.
"""

from __future__ import annotations

import itertools
import socket
from contextlib import ExitStack

from stockade.testing.namespaces import Namespaces, inside, ip, ip_batch, wait_for_link

NODE_IP = "172.30.0.1"
_GATEWAY = "169.254.1.1"


class Network:
    """``node`` is the node's namespace; pods are named as they were added. Every socket handed out is closed at the end."""

    def __init__(self) -> None:
        self._spaces = Namespaces()
        self.id = self._spaces.id
        self.node = self._spaces.name("node")
        self._sockets = ExitStack()
        self._links = itertools.count()

    def start(self) -> None:
        self._spaces.add_router("node")
        ip_batch(self.node, [f"addr add {NODE_IP}/32 dev lo", f"addr add {_GATEWAY}/32 dev lo"])

    def stop(self) -> None:
        self._sockets.close()
        self._spaces.remove_all()

    def add_pod(self, name: str, address: str, address6: str = "") -> None:
        number = next(self._links)
        link, pod = f"v{number}", self._spaces.add(name)
        near, far = (f"02:00:00:{end:02x}:{number >> 8:02x}:{number & 0xFF:02x}" for end in (1, 2))
        ip(
            *("link", "add", link, "netns", self.node, "address", near, "type", "veth"),
            *("peer", "name", "eth0", "netns", pod, "address", far),
        )
        inner = [
            "link set eth0 up",
            f"addr add {address}/32 dev eth0",
            f"route add {_GATEWAY} dev eth0",
            f"route add default via {_GATEWAY}",
        ]
        outer = [f"link set {link} up", f"route add {address}/32 dev {link}"]
        if address6:
            inner += [
                f"addr add {address6}/128 dev eth0 nodad",
                "route add default via fe80::1 dev eth0",
            ]
            outer += [f"addr add fe80::1/64 dev {link} nodad", f"route add {address6}/128 dev {link}"]
        # Neighbours know each other: a question that is lost while a link comes up would hold packets back for a second.
        inner += [
            f"neigh replace {each} lladdr {near} dev eth0 nud permanent" for each in (_GATEWAY, "fe80::1")
        ]
        outer += [
            f"neigh replace {each} lladdr {far} dev {link} nud permanent"
            for each in (address, address6)
            if each
        ]
        ip_batch(self.node, outer)
        ip_batch(pod, inner)
        wait_for_link(self.node, link)
        wait_for_link(pod, "eth0")

    def remove_pod(self, name: str) -> None:
        """With its link."""
        self._spaces.remove(name)

    def open(
        self, where: str, kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET, protocol: int = 0
    ) -> socket.socket:
        """In a pod, or in the node when ``where`` is "node"."""
        with inside(self._spaces.name(where)):
            made = socket.socket(family, kind, protocol)
        made.settimeout(0.25)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return self._sockets.enter_context(made)

    def listen(self, where: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """On every address of both families."""
        made = self.open(where, kind, socket.AF_INET6)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            made.listen(16)
        return made
