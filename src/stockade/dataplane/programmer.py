"""The contract between ``plane`` and whatever holds the table: the kernel (``nft``) or a fake (``stockade.testing``)."""

from __future__ import annotations

from typing import Protocol

from stockade.dataplane.ir import Ruleset


class ProgrammingError(Exception):
    """The table could not be read or changed; nothing changed. The text is nft's own, for the operator."""


class Programmer(Protocol):
    """Every method raises ProgrammingError."""

    async def load(self, text: str) -> None:
        """Apply one transaction: all of it or nothing."""

    async def generation(self) -> int | None:
        """The generation that the table in force tests for; None when there is no table (or none of ours)."""

    async def holds(self, ruleset: Ruleset) -> bool:
        """Read the table back: is it this ruleset? Also False when somebody changed it since the last True."""

    async def delete(self) -> None:
        """Take the table away, if there is one. Everything is allowed afterwards."""
