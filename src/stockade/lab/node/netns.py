"""Network namespaces: make one, and open sockets inside one, without ever moving the caller.

In: nothing, or the descriptor of a namespace. Out: descriptors, sockets, whatever a function returns inside. Called by
``lab.node.network`` and ``lab.internet``. Kernel interface: namespaces(7), setns(2), unshare(2), SIOCGSKNS.

A namespace belongs to a thread, so the work is done by a throw-away thread that ends in the foreign namespace. What it
opened there stays there: a socket keeps the namespace it was made in, from whatever thread it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from stockade.lab.node.syscalls import CLONE_NEWNET, setns, unshare

_SIOCGSKNS = 0x894C
_SO_NETNS_COOKIE = 71

# One thread: the kernel does such work for one at a time anyway.
_ASIDE = ThreadPoolExecutor(1, thread_name_prefix="netns-maker")

T = TypeVar("T")


class _Visitor(threading.Thread, Generic[T]):
    """Runs ``work`` after ``enter`` and keeps what it gave or raised."""

    def __init__(self, enter: Callable[[], None], work: Callable[[], T]) -> None:
        super().__init__(name="netns-visitor", daemon=True)
        self._enter = enter
        self._work = work
        self.result: T
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._enter()
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, whatever it is
            self.error = error

    def outcome(self) -> T:
        self.start()
        self.join()
        if self.error is not None:
            raise self.error
        return self.result


def inside(netns: int, work: Callable[[], T]) -> T:
    """``work()`` as run by a thread in the namespace behind the descriptor ``netns``; its exceptions are raised here."""
    return _Visitor(lambda: setns(netns, CLONE_NEWNET), work).outcome()


def inside_new(work: Callable[[], T]) -> T:
    """``work()`` in a new network namespace. The namespace lives as long as something that ``work`` opened does."""
    return _Visitor(lambda: unshare(CLONE_NEWNET), work).outcome()


async def made_aside(make: Callable[[], T], unmake: Callable[[T], None]) -> T:
    """``make()``, beside the event loop: the kernel takes milliseconds for a pod's network. Cancelled meanwhile, it is unmade."""
    making = asyncio.get_running_loop().run_in_executor(_ASIDE, make)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # it failed, so there is nothing to unmake
            unmake(await making)
        raise


def namespace_of(sock: socket.socket | int) -> int:
    """A new descriptor of the network namespace of a socket (no /proc needed; close-on-exec)."""
    number = sock if isinstance(sock, int) else sock.fileno()
    fd = fcntl.ioctl(number, _SIOCGSKNS)
    os.set_inheritable(fd, False)
    return fd


def cookie(sock: socket.socket) -> bytes:
    """What tells the network namespace of a socket from all others (Linux 5.14 and newer)."""
    return sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)


def open_socket(
    netns: int, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
) -> socket.socket:
    """A socket of the namespace behind ``netns``."""
    return inside(netns, lambda: socket.socket(family, kind, proto))


async def open_connection(
    netns: int, host: str, port: int, *, secure: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection from inside the namespace behind ``netns`` to an address of either family."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = open_socket(netns, family)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        return await asyncio.open_connection(
            sock=connection, ssl=secure, server_hostname=host if secure else None
        )
    except BaseException:
        connection.close()
        raise
