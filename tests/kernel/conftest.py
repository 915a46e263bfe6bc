"""A node and its pods as network namespaces, wired as the lab wires them: routed /32 and /128 veths, no bridge.

Names carry the process id; what a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PREFIX = "stkdp"
NODE_IP = "172.30.0.1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in ``namespace``: sockets and processes made now belong to it for good."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)
        yield
    finally:
        _setns(home)
        os.close(home)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """``pods``: name -> namespace. Every socket handed out is closed at the end."""

    def __init__(self) -> None:
        self.id = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.node = f"{self.id}-node"
        self._namespaces: list[str] = []
        self._sockets = ExitStack()
        self._links = itertools.count()

    def start(self) -> None:
        self._add(self.node)
        ip("-n", self.node, "addr", "add", f"{NODE_IP}/32", "dev", "lo")
        ip("-n", self.node, "addr", "add", "169.254.1.1/32", "dev", "lo")
        with inside(self.node):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")

    def stop(self) -> None:
        self._sockets.close()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def add_pod(self, name: str, address: str, address6: str = "") -> None:
        pod, link = f"{self.id}-{name}", f"v{next(self._links)}"
        self._add(pod)
        ip("link", "add", link, "netns", self.node, "type", "veth", "peer", "name", "eth0", "netns", pod)
        ip("-n", self.node, "link", "set", link, "up")
        ip("-n", pod, "link", "set", "eth0", "up")
        ip("-n", pod, "addr", "add", f"{address}/32", "dev", "eth0")
        ip("-n", pod, "route", "add", "169.254.1.1", "dev", "eth0")
        ip("-n", pod, "route", "add", "default", "via", "169.254.1.1")
        ip("-n", self.node, "route", "add", f"{address}/32", "dev", link)
        if address6:
            ip("-n", self.node, "addr", "add", "fe80::1/64", "dev", link, "nodad")
            ip("-n", pod, "addr", "add", f"{address6}/128", "dev", "eth0", "nodad")
            ip("-n", pod, "route", "add", "default", "via", "fe80::1", "dev", "eth0")
            ip("-n", self.node, "route", "add", f"{address6}/128", "dev", link)

    def open(
        self, where: str, kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET, protocol: int = 0
    ) -> socket.socket:
        """In a pod, or in the node when ``where`` is "node"."""
        with inside(f"{self.id}-{where}"):
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

    def _add(self, name: str) -> None:
        ip("netns", "add", name)
        self._namespaces.append(name)
        with inside(name):  # link-local addresses are ready at once
            for what in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{what}/accept_dad").write_text("0")
        ip("-n", name, "link", "set", "lo", "up")


def _remove_leftovers() -> None:
    for path in Path("/run/netns").glob(f"{PREFIX}-*"):
        pid = path.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


@pytest.fixture(scope="session")
def _kernel() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    _remove_leftovers()


@pytest.fixture
def network(_kernel: None) -> Iterator[Network]:
    """The test itself runs in the node's namespace."""
    made = Network()
    try:
        made.start()
        with inside(made.node):
            yield made
    finally:
        made.stop()
