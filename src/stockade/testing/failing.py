"""A Programmer that fails where a test wants it to: any call of any kind, before or after it took effect.

In: another Programmer (a fake one, or the real kernel's) and a plan. Out: the same contract. Used by tests of whoever programs: whatever
happens here, the rules in force must be the old or the new ones, and the right ones in the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

import msgspec

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.operations import Batch
from stockade.dataplane.programmer import Held, InterferenceError, Programmer, ProgrammingError

T = TypeVar("T")
COMMIT, READ, HOLDS, DELETE = "commit", "read", "holds", "delete"
REFUSAL = "Error: Could not process rule: No buffer space available"


class How(Enum):
    """What goes wrong."""

    BEFORE = "refused, nothing happened"
    AFTER = "done, but the answer was an error: a time-out after the fact"
    INTERFERENCE = "refused, for somebody else wrote meanwhile"
    GARBAGE = "a bug: an exception that nobody declared"
    GARBLED = "an answer that is wrong: a table that cannot be made sense of, or is not what was programmed"


class Failure(msgspec.Struct, frozen=True):
    """The call number ``nth`` (from 0, counted for each kind of ``call``) and ``times - 1`` after it."""

    call: str
    how: How = How.BEFORE
    nth: int = 0
    times: int = 1


class FailingProgrammer:
    """``broken`` fails every commit from now on, until it is taken back. ``calls`` counts the calls of each kind."""

    def __init__(self, inner: Programmer, *plan: Failure) -> None:
        self.inner = inner
        self.broken: How | None = None
        self.calls = dict.fromkeys((COMMIT, READ, HOLDS, DELETE), 0)
        self.failed = 0
        self._plan = plan

    async def commit(self, batch: Batch) -> None:
        await self._call(COMMIT, lambda: self.inner.commit(batch), None)

    async def read(self) -> Held | None:
        return await self._call(READ, self.inner.read, Held(None, None))

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        return await self._call(HOLDS, lambda: self.inner.holds(ruleset, generation), False)

    async def delete(self) -> None:
        await self._call(DELETE, self.inner.delete, None)

    async def _call(self, call: str, do: Callable[[], Awaitable[T]], garbled: T) -> T:
        how = self._how(call)
        self.calls[call] += 1
        self.failed += how is not None
        if how is How.GARBLED:
            return garbled
        if how is How.BEFORE:
            raise ProgrammingError(REFUSAL)
        if how is How.INTERFERENCE:
            raise InterferenceError("the ruleset has changed meanwhile")
        if how is How.GARBAGE:
            raise ZeroDivisionError("a bug")
        result = await do()
        if how is How.AFTER:
            raise ProgrammingError("nft did not finish within 30 s")
        return result

    def _how(self, call: str) -> How | None:
        if call == COMMIT and self.broken is not None:
            return self.broken
        number = self.calls[call]
        for each in self._plan:
            if each.call == call and each.nth <= number < each.nth + each.times:
                return each.how
        return None
