"""A Programmer without a kernel: remembers each transaction, fails on request. For tests of whoever programs."""

from __future__ import annotations

import re

from stockade.dataplane.ir import Ruleset, mask_shift
from stockade.dataplane.programmer import Held, ProgrammingError

_GATE = re.compile(r"ct mark and (0x[0-9a-f]+) == (0x[0-9a-f]+) accept")


class FakeProgrammer:
    """``loads`` are the texts that were applied. ``intact`` False: somebody tampered with the table. With ``generation`` there
    is a table from the start; ``ruleset`` is what is read back from it, None for "not of our making"."""

    def __init__(self, generation: int | None = None, ruleset: Ruleset | None = None) -> None:
        self.loads: list[str] = []
        self.ruleset = ruleset
        self.intact = True
        self.deleted = False
        self._generation = generation
        self._failures: list[str] = []

    def fail(self, *messages: str) -> None:
        """The next calls of ``load`` raise, one for each message."""
        self._failures.extend(messages)

    async def load(self, text: str) -> None:
        if self._failures:
            raise ProgrammingError(self._failures.pop(0))
        self.loads.append(text)
        self.intact = True
        found = _GATE.search(text)
        if found:
            mask, value = (int(number, 16) for number in found.groups())
            self._generation = value >> mask_shift(mask)

    async def read(self) -> Held | None:
        return None if self._generation is None else Held(self._generation, self.ruleset)

    async def holds(self, ruleset: Ruleset) -> bool:  # noqa: ARG002 - the contract's name
        return self.intact

    async def delete(self) -> None:
        self.deleted = True
        self._generation = None
