"""The one door to the ``nft`` program: text goes in over stdin, never through a shell. Implements ``programmer.Programmer``.

Rules live in the kernel of the network namespace of the calling thread; nothing is kept here but the digest of the last
reading that was right.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from typing import Any

import msgspec

from stockade.dataplane import readback
from stockade.dataplane.commands import batch_text
from stockade.dataplane.ir import FAMILY, TABLE, Ruleset
from stockade.dataplane.operations import Batch
from stockade.dataplane.programmer import Held, ProgrammingError

# protocols as numbers: their names need /etc/protocols, which minimal systems and containers lack
_LISTING = ("-j", "--numeric-protocol")
_CHILDREN = 64
_ERROR_LIMIT = 2000  # characters of nft's message that help; a large transaction repeats itself


class Nft:
    """``timeout`` in seconds for one call; a full replace of thousands of policies takes about one."""

    def __init__(self, program: str = "nft", timeout: float = 30.0) -> None:
        self._program = program
        self._timeout = timeout
        self._digest: str | None = None
        self.children: deque[int] = deque(
            maxlen=_CHILDREN
        )  # process ids of the last calls: what they change is ours

    async def commit(self, batch: Batch) -> None:
        await self.load(batch_text(batch))

    async def load(self, text: str) -> None:
        """Any text for nft, also about other tables (the Service proxy of the lab)."""
        self._digest = None
        await self._run(["-f", "-"], text)

    async def read(self) -> Held | None:
        listing = await self._list()
        if listing is None:
            return None
        try:
            gate = readback.gate(listing)
            ruleset = readback.table(listing, gate[0]) if gate else None
        except (KeyError, TypeError, ValueError):
            return Held(None, None)
        return Held(gate[1] if gate else None, ruleset)

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        listing = await self._list()
        if listing is None or readback.gate(listing) != (ruleset.mark_mask, generation):
            return False
        digest = readback.digest(listing)
        if self._digest is not None:
            return digest == self._digest
        try:
            right = readback.read(listing) == readback.expected(ruleset)
        except (KeyError, TypeError, ValueError):
            return False  # something in the table is not of our making
        if right:
            self._digest = digest
        return right

    async def delete(self) -> None:
        self._digest = None
        where = f"table {FAMILY} {TABLE}"
        await self._run(["-f", "-"], f"add {where}\ndelete {where}\n")

    async def _list(self) -> dict[str, Any] | None:
        """None when there is no table."""
        try:
            output = await self._run([*_LISTING, "list", "table", FAMILY, TABLE])
        except ProgrammingError as error:
            if "No such file or directory" in str(error):
                return None
            raise
        try:
            return msgspec.json.decode(output, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ProgrammingError(f"nft list printed something else than JSON: {error}") from error

    async def _run(self, arguments: list[str], text: str = "") -> bytes:
        program = shutil.which(self._program)
        if program is None:
            raise ProgrammingError(
                f"the program {self._program!r} is not installed: install the package nftables"
            )
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.children.append(process.pid)
        try:
            async with asyncio.timeout(self._timeout):
                output, errors = await process.communicate(text.encode())
        except TimeoutError:
            raise ProgrammingError(f"nft did not finish within {self._timeout:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            message = errors.decode(errors="replace").strip()[:_ERROR_LIMIT]
            raise ProgrammingError(message or f"nft ended with status {process.returncode}")
        return output
