"""``Programmer`` by netlink: one atomic batch for each commit, applied only if our table is as we left it. Called by ``plane``.

    commit ──► encode ──► condition: generation id in force == the one we know ──► the kernel does all or nothing
                              │ refused: somebody committed something
                              └► read the notifications: another table? know its id, send again.  Ours? InterferenceError

That is free of races: the kernel compares under the lock that it holds through a transaction and its notifications, so those of
whoever came before us are all waiting when we are refused. Others move the id all the time (kube-proxy), and cost nothing but
a second try. A batch that makes the table anew depends on nothing, so it only needs the condition to know the id afterwards.

Small batches take a tenth of a millisecond and run in the event loop, large ones and readings in a thread. All sockets belong to
the network namespace of the thread that makes the backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

import msgspec

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.netlink import NetlinkError
from stockade.dataplane.nfnetlink.channel import Channel, GenerationMoved
from stockade.dataplane.nfnetlink.events import Commit, Events, Lost
from stockade.dataplane.nfnetlink.knowledge import Knowledge
from stockade.dataplane.nfnetlink.messages import Encoded, TableFlags, encode
from stockade.dataplane.nfnetlink.monitor import Change, change_of
from stockade.dataplane.nfnetlink.ownership import flags_for, persists
from stockade.dataplane.nfnetlink.reading import Reader
from stockade.dataplane.operations import AddRule, AddSet, AddTable, Batch, DeleteTable
from stockade.dataplane.programmer import Held, InterferenceError, ProgrammingError

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 50  # against others who commit; each needs one of them to come in between
_LARGE = 500  # operations and elements that are still encoded and sent within a millisecond or two

_Result = TypeVar("_Result")


class _Right(msgspec.Struct, frozen=True):
    """When the table was read and found to be ``ruleset``, which is None if we changed it since. ``generation`` is the latest."""

    generation: int
    at: float
    ruleset: Ruleset | None

    def answers(self, ruleset: Ruleset, generation: int, trust: float) -> bool:
        if generation != self.generation:
            return False
        return self.ruleset is ruleset or (self.ruleset is None and time.monotonic() - self.at < trust)


class Netlink:
    """``own``: nobody else shall be able to change the table, on kernels where that does not make it vanish when we end.

    ``trust``: for so many seconds after a reading that was right, what we changed ourselves is believed to have arrived.
    """

    def __init__(self, *, own: bool = False, trust: float = 600.0) -> None:
        """Raises ProgrammingError when the kernel has no nf_tables for us."""
        with _programming("open nf_tables"):
            self._own = own and persists()
            self._channel = Channel()
            self._channel.generation_id()
            self._events = Events(self.ports)
            self._reader = Reader()
        if own and not self._own:
            _LOG.warning("this kernel cannot keep an owned table when its owner ends: the table has no owner")
        self._claimed = False
        self._knowledge = Knowledge()
        self._lock = asyncio.Lock()
        self._busy = threading.Lock()
        self._hearing = threading.Lock()
        self._queues: list[asyncio.Queue[Change]] = []
        self._right: _Right | None = None
        self._trust = trust
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def ports(self) -> frozenset[int]:
        """Whose changes are ours: for ``Monitor``."""
        return frozenset((self._channel.port,))

    @property
    def owns(self) -> bool:
        """Is a table that is made anew ours alone?"""
        return self._own

    def close(self) -> None:
        """The table stays. If it was owned, whoever comes next can adopt it."""
        self._unwatch()
        for each in (self._channel, self._events, self._reader):
            each.close()

    async def commit(self, batch: Batch) -> None:
        await self._run(lambda: self._commit(batch), in_thread=_is_large(batch))

    async def read(self) -> Held | None:
        return await self._run(self._read, in_thread=True)

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        """Without reading anything while nobody changed the table since it was last read and found right. (We ourselves: ``trust``.)"""
        quick = await self._run(self._untouched, in_thread=False)
        if quick and self._right is not None and self._right.answers(ruleset, generation, self._trust):
            return True
        return await self._run(lambda: self._holds(ruleset, generation), in_thread=True)

    async def delete(self) -> None:
        await self._run(self._delete, in_thread=False)

    async def changes(self) -> AsyncGenerator[Change, None]:
        """Changes of our table by others, as ``Monitor.changes``: without a second listener."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._queues.append(queue)
        try:
            self._watch()
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    async def read_counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes by name."""
        with _programming("read counters"):
            return await asyncio.to_thread(self._reader.counters)

    async def _run(self, work: Callable[[], _Result], *, in_thread: bool) -> _Result:
        def alone() -> _Result:
            # a thread whose caller was cancelled goes on; what comes next must wait for it
            with self._busy, _programming("change the table"):
                return work()

        async with self._lock:
            self._watch()
            return await asyncio.to_thread(alone) if in_thread else alone()

    def _watch(self) -> None:
        """Read notifications as they come, so that they never overflow while nothing is committed for hours."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._unwatch()
            self._loop = loop
            loop.add_reader(self._events.fileno(), self._drain)

    def _unwatch(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._events.fileno())

    def _drain(self) -> None:
        with self._hearing:  # what is heard first must be believed first
            self._tell(self._events.drain())

    def _tell(self, events: list[Commit | Lost]) -> None:
        self._knowledge.observe(events)
        changes = [change for change in map(change_of, events) if change is not None]
        if self._loop is not None and not self._loop.is_closed():
            for queue in self._queues:
                for change in changes:
                    self._loop.call_soon_threadsafe(queue.put_nowait, change)

    def _commit(self, batch: Batch) -> None:
        anew = any(isinstance(each, DeleteTable) for each in batch.operations)
        self._transact(self._encode(batch), anew=anew)
        if self._right is not None:
            self._right = (
                None
                if anew
                else msgspec.structs.replace(self._right, generation=batch.generation, ruleset=None)
            )

    def _encode(self, batch: Batch) -> Encoded:
        adding = any(isinstance(each, AddTable) for each in batch.operations)
        flags = TableFlags()
        if adding or (self._own and not self._claimed):
            flags = flags_for(self._reader.table(), own=self._own, adding=adding)
        try:
            return encode(batch, flags)
        except ValueError as error:
            raise ProgrammingError(str(error)) from error

    def _transact(self, encoded: Encoded, *, anew: bool) -> None:
        if not encoded.messages:
            return
        for _ in range(_ATTEMPTS):
            try:
                if anew:
                    self._replace(encoded)
                else:
                    self._change(encoded)
            except GenerationMoved:
                continue
            self._claimed = True
            return
        raise InterferenceError(f"others changed the ruleset during each of {_ATTEMPTS} attempts")

    def _change(self, encoded: Encoded) -> None:
        self._drain()
        known = self._knowledge.generation_id
        if known is None and self._knowledge.doubt:
            raise InterferenceError(self._knowledge.doubt)
        try:
            self._channel.transact(encoded, known or 0)
        except GenerationMoved:
            self._hear_up_to(self._channel.quiet_generation_id())
            raise

    def _replace(self, encoded: Encoded) -> None:
        in_force = self._channel.generation_id()
        with self._deaf(len(encoded.messages) > _LARGE):
            self._channel.transact(encoded, in_force)
            self._knowledge.made(in_force)

    @contextlib.contextmanager
    def _deaf(self, large: bool) -> Iterator[None]:
        """Do without notifications during a large transaction of ours."""
        if not large:
            yield
            return
        self._events.pause()
        try:
            yield
        finally:
            self._events.resume()
            self._hear_up_to(self._channel.quiet_generation_id())

    def _read(self) -> Held | None:
        def work() -> Held | None:
            return self._reader.held()

        self._right = None
        return self._settled(work)

    def _holds(self, ruleset: Ruleset, generation: int) -> bool:
        last = self._right
        if (
            last is not None
            and (last.generation, last.ruleset) == (generation, ruleset)
            and self._untouched()
        ):
            self._right = msgspec.structs.replace(last, ruleset=ruleset)
            return True
        right = self._settled(lambda: self._reader.holds(ruleset, generation))
        self._right = _Right(generation, time.monotonic(), ruleset) if right else None
        if not right:
            self._knowledge.distrust("the table is not what was programmed")
        return right

    def _settled(self, work: Callable[[], _Result]) -> _Result:
        """The result of a reading during which nobody changed our table."""
        for _ in range(_ATTEMPTS):
            known = self._channel.quiet_generation_id()
            self._knowledge.know(known)
            self._drain()
            failure: NetlinkError | None = None
            try:
                result = work()
            except NetlinkError as error:  # what was there a moment ago may be gone
                failure = error
            self._hear_up_to(self._channel.quiet_generation_id())
            if self._knowledge.generation_id is None:
                continue
            if failure is not None:
                raise failure
            return result
        raise InterferenceError(f"others changed the table during each of {_ATTEMPTS} readings")

    def _untouched(self) -> bool:
        """Nobody but us changed the table since it was known."""
        self._drain()
        if self._knowledge.generation_id is None:
            return False
        if self._channel.generation_id() != self._knowledge.generation_id:
            self._hear_up_to(self._channel.quiet_generation_id())
        return self._knowledge.generation_id is not None

    def _hear_up_to(self, quiet: int) -> None:
        self._drain()
        if self._knowledge.is_behind(quiet):
            self._tell([Lost()])

    def _delete(self) -> None:
        if self._reader.table() is None:
            return
        batch = Batch((AddTable(), DeleteTable()), mark_mask=1, generation=1)
        self._transact(self._encode(batch), anew=True)
        self._right = None


def _is_large(batch: Batch) -> bool:
    size = len(batch.operations)
    for each in batch.operations:
        if isinstance(each, AddSet):
            size += len(each.set.elements)
        elif not isinstance(each, AddRule):
            size += len(getattr(each, "elements", ()))
    return size > _LARGE


@contextlib.contextmanager
def _programming(purpose: str) -> Iterator[None]:
    """Whatever the kernel or the socket says becomes a ProgrammingError."""
    try:
        yield
    except NetlinkError as error:
        raise ProgrammingError(str(error)) from error
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise ProgrammingError(f"{purpose}: {error.strerror}{hint}") from error


_HINTS = {
    errno.EMSGSIZE: " (the transaction is larger than net.core.wmem_max allows without CAP_NET_ADMIN)",
    errno.EPROTONOSUPPORT: " (the kernel has no nf_tables)",
}
