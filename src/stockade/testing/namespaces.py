"""Network namespaces for tests that send real packets: made, entered, removed, also after a killed run.

In: names. Out: namespaces under /run/netns and sockets that live in them. Called by the kernel tests and by the long runs
(``stockade.testing.witnesses`` and its neighbours). Needs root and the ``ip`` program; the machine's own links, routes and rules are never touched.

Names carry the process id, so that what a killed run left behind is known and removed by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "stkdp"
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def ip(*arguments: str) -> None:
    _run(["ip", *arguments])


def ip_batch(namespace: str, commands: Iterator[str] | list[str]) -> None:
    """Many ``ip`` commands in one process."""
    _run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands) + "\n")


def nft(namespace: str, text: str) -> None:
    """For rules that are not Stockade's, such as Services; in ``namespace``."""
    with inside(namespace):
        _run(["nft", "-f", "-"], text)


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
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


def wait_for_link(namespace: str, name: str, patience: float = 5.0) -> None:
    """Until the link carries packets: the kernel lets it some time after both ends are up, and drops them silently before."""
    request = struct.pack("16sH22x", name.encode(), 0)
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            (flags,) = struct.unpack_from("H", fcntl.ioctl(made, _SIOCGIFFLAGS, request), 16)
            if flags & _IFF_RUNNING:
                return
            time.sleep(0.001)
    raise RuntimeError(f"link {name} in {namespace} does not come up")


class Namespaces:
    """The namespaces of one network; all gone when it is left."""

    def __init__(self) -> None:
        self.id = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._names: list[str] = []

    def __enter__(self) -> Self:
        remove_leftovers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove_all()

    def name(self, short: str) -> str:
        return f"{self.id}-{short}"

    def add(self, short: str) -> str:
        """With loopback up and IPv6 addresses that are ready at once. The full name."""
        name = self.name(short)
        ip("netns", "add", name)
        self._names.append(name)
        with inside(name):
            for what in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{what}/accept_dad").write_text("0")
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def add_router(self, short: str) -> str:
        name = self.add(short)
        with inside(name):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        return name

    def remove(self, short: str) -> None:
        name = self.name(short)
        self._names.remove(name)
        ip("netns", "del", name)

    def remove_all(self) -> None:
        while self._names:
            subprocess.run(["ip", "netns", "del", self._names.pop()], capture_output=True, check=False)


def missing() -> str:
    """What a kernel test needs and this machine has not; empty when all is there."""
    if os.geteuid() != 0:
        return "root for network namespaces"
    programs = [program for program in ("ip", "nft") if shutil.which(program) is None]
    return " and ".join(programs)


def remove_leftovers() -> None:
    for path in Path("/run/netns").glob(f"{PREFIX}-*"):
        pid = path.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)
