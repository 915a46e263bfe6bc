"""A Programmer without a kernel: remembers each batch, fails on request. For tests of whoever programs."""

from __future__ import annotations

from stockade.dataplane.commands import batch_text
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.operations import Batch
from stockade.dataplane.programmer import Held, ProgrammingError


class FakeProgrammer:
    """``batches`` are those that were applied. ``intact`` False: somebody tampered with the table. With ``generation`` there
    is a table from the start; ``ruleset`` is what is read back from it, None for "not of our making"."""

    def __init__(self, generation: int | None = None, ruleset: Ruleset | None = None) -> None:
        self.batches: list[Batch] = []
        self.ruleset = ruleset
        self.intact = True
        self.deleted = False
        self._generation = generation
        self._failures: list[str] = []

    @property
    def loads(self) -> list[str]:
        """What was applied, as text for nft."""
        return [batch_text(batch) for batch in self.batches]

    def fail(self, *messages: str) -> None:
        """The next calls of ``commit`` raise, one for each message."""
        self._failures.extend(messages)

    async def commit(self, batch: Batch) -> None:
        if self._failures:
            raise ProgrammingError(self._failures.pop(0))
        self.batches.append(batch)
        self.intact = True
        self._generation = batch.generation

    async def read(self) -> Held | None:
        return None if self._generation is None else Held(self._generation, self.ruleset)

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:  # noqa: ARG002 - the contract's names
        return self.intact

    async def delete(self) -> None:
        self.deleted = True
        self._generation = None
