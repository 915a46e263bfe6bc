"""Dataplane: brings the kernel's table to the wanted ruleset and keeps it there. Called by the agent.

    apply(wanted) ── first time ──► adopt: read the table, change it in place under the next generation; none: load it whole
                  └─ later ───────► diff to what was applied, one small transaction
    patch(patch)  ────────────────► only elements: nothing is compared, nothing but the change is looked at
                       on error ──► adopt at once; if that fails too the error is the caller's, who waits and calls again.
                                    The old rules stay in force meanwhile.

Never flushes, never deletes and loads in two steps: both would be an open moment (reference dataplane 2). Stopping the agent
changes nothing in the kernel; only ``cleanup`` takes the table away.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection

import msgspec

from stockade.dataplane.diff import adopt, diff, replace, turn_generation
from stockade.dataplane.ir import Ruleset, following
from stockade.dataplane.operations import Batch, Transaction
from stockade.dataplane.patch import Patch, merged, patched
from stockade.dataplane.patch import transaction as patch_transaction
from stockade.dataplane.programmer import Held, Programmer, ProgrammingError
from stockade.net.cidr import Address

_LOG = logging.getLogger(__name__)
_ADOPTIONS = 3  # attempts to change a table in place before it is made anew, which costs single packets
_TRAIL = 256  # patches kept apart before they are merged


class Applied(msgspec.Struct, frozen=True):
    """``changed``: the kernel was written to; ``bumped``: known connections are judged again; ``full``: the table was made anew.
    ``refused``: why a smaller change, tried before, was not taken."""

    changed: bool
    bumped: bool = False
    full: bool = False
    ms: float = 0.0
    refused: str = ""


Forget = Callable[[Collection[Address]], Awaitable[None]]


class Dataplane:
    """One at a time per network namespace.

    ``generation`` is where counting starts when there is no table: at random, for connections may still carry marks from a
    table of an earlier life, and those must not count.

    ``forget``: live connections survive a stricter policy; those of an address that leaves are forgotten by this function before anybody
    else can have the address (OSError: it could not, and every connection is judged again). None: a stricter policy cuts them.
    """

    def __init__(
        self, programmer: Programmer, *, generation: int | None = None, forget: Forget | None = None
    ) -> None:
        self._programmer = programmer
        self._forget = forget
        self._lock = asyncio.Lock()
        self._applied: Ruleset | None = None
        self._trail: list[Patch] = []  # applied since
        self._last: Ruleset | None = None  # what was in force before a failure, for who left since
        self._generation = secrets.randbelow(0xFFFF) if generation is None else generation
        self._refused = ""  # why the last change in place was not taken
        self._failed = 0  # times in a row that the table in force could not be adopted

    @property
    def applied(self) -> Ruleset | None:
        """What the kernel holds as far as is known; None before the first ``apply`` and after a failed one. Folds patches in:
        costs as much as what they touched is large."""
        if self._applied is not None and self._trail:
            self._applied = patched(self._applied, self._trail)
            self._trail = []
        return self._applied

    @property
    def generation(self) -> int:
        return self._generation

    async def apply(self, wanted: Ruleset) -> Applied:
        """Raises ProgrammingError when the kernel refuses; the rules in force are then the old ones."""
        async with self._lock:
            started = time.monotonic()
            self._refused = ""
            held = self.applied
            if held is not None:
                transaction = diff(held, wanted, self._generation, bump=self._bump)
                if transaction.is_empty:
                    self._applied = wanted
                    return Applied(changed=False)
                if await self._changed(transaction, _gone(held, wanted), wanted):
                    self._applied = wanted
                    return _report(transaction, started)
            return _report(await self._adopt(wanted), started, self._refused)

    async def patch(self, patch: Patch, wanted: Callable[[], Ruleset]) -> Applied:
        """``patch`` is to what was applied last; ``wanted`` gives the whole for the case that this cannot be built upon."""
        async with self._lock:
            started = time.monotonic()
            self._refused = ""
            if self._applied is not None:
                transaction = patch_transaction(patch, self._applied, self._generation, bump=self._bump)
                if transaction.is_empty:
                    return Applied(changed=False)
                base = self._applied
                if await self._changed(transaction, _left(patch, base), base):
                    self._applied = base
                    self._trail.append(patch)
                    if len(self._trail) >= _TRAIL:
                        self._trail = [functools.reduce(merged, self._trail)]
                    return _report(transaction, started)
            return _report(await self._adopt(wanted()), started, self._refused)

    async def forget(self, addresses: Collection[Address]) -> None:
        """Where live connections are kept: those of pods of other nodes that are gone are not. (Our own pods' see ``apply``.)"""
        async with self._lock:
            if self._forget is not None and self._applied is not None and addresses:
                await self._forget_gone(self._forget, addresses, self._applied)

    async def verify(self) -> bool:
        """Is the table what was applied? If not, it is repaired, and the answer is False. Nothing applied yet: True."""
        async with self._lock:
            wanted = self.applied
            if wanted is None or await self._programmer.holds(wanted, self._generation):
                return True
            _LOG.warning("the table is not what was programmed: repairing it")
            self._last = wanted
            await self._adopt(wanted)
            return False

    async def cleanup(self) -> None:
        """Take the table away: nothing is policed any more."""
        async with self._lock:
            self._applied = None
            await self._programmer.delete()

    @property
    def _bump(self) -> bool | None:
        """Whether a change raises the generation: if it is stricter; never, when live connections are kept."""
        return None if self._forget is None else False

    async def _changed(self, transaction: Transaction, gone: list[Address], frame: Ruleset) -> bool:
        """False: refused, and nothing is known of what is in force."""
        try:
            await self._load(transaction, gone, frame)
        except ProgrammingError as error:
            self._refused = str(error)
            _LOG.warning("incremental update failed, starting from the table in force: %s", error)
            return False
        return True

    async def _adopt(self, wanted: Ruleset) -> Transaction:
        """The table is read each time. If it can again and again not be changed in place, it is made anew, whatever is in force."""
        transaction = self._start(await self._programmer.read(), wanted)
        gone = [] if self._last is None else _gone(self._last, wanted)
        try:
            await self._load(transaction, gone, wanted)
        except ProgrammingError:
            self._failed += 1
            raise
        self._failed = 0
        self._applied, self._trail = wanted, []
        return transaction

    def _start(self, held: Held | None, wanted: Ruleset) -> Transaction:
        """Without a table connections may still carry the mark of our own last generation."""
        kept = self._forget is not None and self._last is not None
        generation = self._generation if held is None or held.generation is None else held.generation
        if self._failed >= _ADOPTIONS or held is None or held.ruleset is None:
            return replace(wanted, generation, bump=not kept)
        return adopt(held.ruleset, wanted, generation, bump=not kept)

    async def _load(self, transaction: Transaction, gone: Collection[Address], frame: Ruleset) -> None:
        """If interrupted nobody knows which rules are in force, so the next ``apply`` reads them. ``frame`` has the chains that carry
        the generation."""
        before, self._applied = self._applied, None
        try:
            for batch in transaction.batches:
                await self._programmer.commit(batch)
            self._generation = transaction.generation
            if self._forget is not None and gone and not transaction.bump:
                await self._forget_gone(self._forget, gone, frame)
        except BaseException:
            if before is not None:
                self._last = patched(before, self._trail)
            self._trail = []
            raise

    async def _forget_gone(self, forget: Forget, gone: Collection[Address], frame: Ruleset) -> None:
        try:
            await forget(gone)
        except OSError as error:
            _LOG.warning(
                "connections of %d addresses not forgotten, all are judged again: %s", len(gone), error
            )
            fresh = following(self._generation, frame.generations)
            await self._programmer.commit(
                Batch(tuple(turn_generation(frame, self._generation)), frame.mark_mask, fresh)
            )
            self._generation = fresh


def _left(patch: Patch, base: Ruleset) -> list[Address]:
    """Addresses that a patch takes away, and those whose pod is another now."""
    return [
        (base.identities[name].key.family or 4, address)
        for name, change in patch.identities.items()
        for address in change.gone
    ]


def _gone(old: Ruleset, new: Ruleset) -> list[Address]:
    """Addresses of pods that are no longer programmed."""
    return [
        (ids.key.family or 4, address)
        for name, ids in old.identities.items()
        for address in ids.elements.keys() - new.identities[name].elements.keys()
    ]


def _report(transaction: Transaction, started: float, refused: str = "") -> Applied:
    elapsed = (time.monotonic() - started) * 1000
    return Applied(changed=True, bumped=transaction.bump, full=transaction.full, ms=elapsed, refused=refused)
