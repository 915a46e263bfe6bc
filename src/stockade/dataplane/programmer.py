"""The contract between ``plane`` and whatever holds the table: the kernel, by netlink (``nfnetlink``) or by the nft program (``nft``), or
a fake (``stockade.testing``)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.operations import Batch


class ProgrammingError(Exception):
    """The table could not be read or changed; nothing changed. The text is nft's or the kernel's own, for the operator."""


class InterferenceError(ProgrammingError):
    """Somebody else changed the ruleset since it was last read or written (the kernel's ERESTART): read it again."""


class Held(msgspec.Struct, frozen=True):
    """A table as it was read back. ``generation`` is None when the hooks do not ask a map of generations as ours do.

    ``ruleset`` is None when something in the table is not of our making; else sets, maps, counters and chains are what the kernel
    holds, but chains have no rules: those are not read back.
    """

    generation: int | None
    ruleset: Ruleset | None


class Programmer(Protocol):
    """Every method raises ProgrammingError."""

    async def commit(self, batch: Batch) -> None:
        """Apply one batch: all of it or nothing."""

    async def read(self) -> Held | None:
        """The table in force; None when there is none."""

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        """Read the table back: is it this ruleset under this generation? Also False when somebody changed it since the last True."""

    async def delete(self) -> None:
        """Take the table away, if there is one. Everything is allowed afterwards."""
