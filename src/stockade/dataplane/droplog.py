"""Denied packets as they happen: an asynchronous reader of the NFLOG group that the deny chains log to. Called by the agent.

    async for record in DropLog(group): ...

The log prefix names direction and profile (``names.log_prefix``); which policies isolate is in the profile. Records of mirrored chains
(replies) are turned round, so that source and destination are always those of the connection's first packet. A record stands for all
packets of its kind (``droptally``) since it was last given out: the first one comes at once, what follows within ``interval`` is
gathered. The socket belongs to the network namespace of the thread that opens it. Nothing here is on the packets' way: the kernel limits what it
logs and throws away what is not read in time, which is counted. So never a proof of absence.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import deque
from types import TracebackType
from typing import Self

from stockade.dataplane.droptally import DropRecord, Tally
from stockade.dataplane.netlink import NETLINK_NETFILTER, NetlinkError, NetlinkSocket
from stockade.dataplane.nflog import bind_request, packets

__all__ = ["DropLog", "DropLogError", "DropRecord"]

_RECEIVE_BUFFER = 8 << 20
_KERNEL_BUFFER = (
    15 << 10
)  # for one such gathering (256 bytes a packet); the kernel allocates it whole each time
_QUEUE = 50  # packets that the kernel gathers before it wakes us: sustains 190 000 a second (reference dataplane 5)
_TIMEOUT_CS = 1  # but no longer than 10 ms
_READS_AT_ONCE = 64
_INTERVAL = 0.2
_NUMBERS = 1 << 32  # of messages; then 0 again


class DropLogError(Exception):
    """The group cannot be read; the text says why and what to do."""


class DropLog:
    """Opens with ``async with`` or the first ``async for``; ends when closed. Raises DropLogError when it cannot open or go on."""

    def __init__(self, group: int, *, snaplen: int = 96, interval: float = _INTERVAL) -> None:
        self._group = group
        self._snaplen = snaplen
        self._interval = interval
        self._tally = Tally()
        self._records: deque[DropRecord] = deque()
        self._socket: NetlinkSocket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()
        self._next_take = 0.0
        self._closed = False
        self._failure: DropLogError | None = None
        self._expected: int | None = None  # number of the next message
        self._missing = 0
        self.overruns = 0  # how often the kernel said that it had to throw messages away

    @property
    def lost(self) -> int:
        """Logged packets that were not read: the kernel threw them away, or there was no room to count them."""
        return self._missing + self._tally.overflow

    def open(self) -> None:
        """Bind the group. Call inside the running loop, in the right network namespace."""
        if self._socket is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._socket = _bound_socket(self._group, self._snaplen)
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._socket = None
        self._closed = True
        self._wakeup.set()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DropRecord:
        if not self._closed:
            self.open()
        while not self._records:
            await self._gather()
        return self._records.popleft()

    async def _gather(self) -> None:
        """Wait for packets; those that come soon after the ones told last are told together."""
        while not self._tally:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()
        pause = self._next_take - time.monotonic()
        if pause > 0 and not self._closed:
            await asyncio.sleep(pause)
        self._records.extend(self._tally.take())
        self._next_take = time.monotonic() + self._interval

    def _on_readable(self) -> None:
        """A bounded number of datagrams, so that a flood does not starve the loop."""
        for _ in range(_READS_AT_ONCE):
            if self._socket is None:
                return
            try:
                data = self._socket.receive_bytes()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    self._failure = DropLogError(f"NFLOG group {self._group}: {error.strerror}")
                    self.close()
                    return
                self.overruns += 1
                continue
            self._take(data)

    def _take(self, data: bytes) -> None:
        now = time.time()
        add = self._tally.add
        for number, prefix, payload in packets(data):
            if number is not None:
                if number != self._expected and self._expected is not None:
                    self._missing += (number - self._expected) % _NUMBERS
                self._expected = (number + 1) % _NUMBERS
            add(prefix, payload, now)
        if self._tally:
            self._wakeup.set()


def _bound_socket(group: int, snaplen: int) -> NetlinkSocket:
    """Raises DropLogError."""
    try:
        opened = NetlinkSocket(NETLINK_NETFILTER)
    except OSError as error:
        raise DropLogError(f"no netfilter netlink socket: {error.strerror}") from error
    try:
        opened.reserve(receive=_RECEIVE_BUFFER)
        opened.execute(
            bind_request(group, snaplen=snaplen, queue=_QUEUE, timeout_cs=_TIMEOUT_CS, buffer=_KERNEL_BUFFER)
        )
        opened.set_blocking(blocking=False)
    except OSError as error:
        opened.close()
        raise DropLogError(_refusal(group, error)) from error
    return opened


def _refusal(group: int, error: OSError) -> str:
    if isinstance(error, NetlinkError) and error.errno in {
        errno.EPERM,
        errno.EBUSY,
    }:  # the kernel says EPERM for both
        return (
            f"NFLOG group {group}: another program reads this group (choose another one with --log-group), or "
            "CAP_NET_ADMIN is missing"
        )
    return (
        str(error) if isinstance(error, NetlinkError) else f"NFLOG group {group}: {error.strerror or error}"
    )
