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
from stockade.dataplane.netlink import NETLINK_NETFILTER, NetlinkSocket
from stockade.dataplane.nfnetlink.reading import table_state
from stockade.dataplane.nfnetlink.wire import OUR_TABLE
from stockade.dataplane.operations import AddTable, Batch, DeleteTable
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
        self._distrusted = False
        self.children: deque[int] = deque(
            maxlen=_CHILDREN
        )  # process ids of the last calls: what they change is ours

    async def commit(self, batch: Batch) -> None:
        if isinstance(batch.operations[0], AddTable) and _table_flags():
            # To add it is to ask for a table without flags, which the kernel refuses; to delete it is not.
            batch = msgspec.structs.replace(batch, operations=batch.operations[1:])
        await self.load(batch_text(batch))

    async def load(self, text: str) -> None:
        """Any text for nft, also about other tables (the Service proxy of the lab)."""
        self._digest = None
        await self._run(["-f", "-"], text)

    def distrust(self) -> None:
        """Somebody else changed the table. A listing tells how many rules there are and, by its digest, whether they are those of the
        listing before; what was not listed since our own last change cannot be told, so it is not believed."""
        self._distrusted = True

    async def read(self) -> Held | None:
        if _table_flags():
            return Held(None, None)
        listing = await self._list()
        if listing is None:
            return None
        try:
            current = readback.generation(listing)
            ruleset = readback.table(listing, current[0]) if current else None
        except (KeyError, TypeError, ValueError):
            return Held(None, None)
        return Held(current[1] if current else None, ruleset)

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        distrusted, self._distrusted = self._distrusted, False
        if (distrusted and self._digest is None) or _table_flags():
            return False
        listing = await self._list()
        if listing is None or readback.generation(listing) != (ruleset.mark_mask, generation):
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
        await self.commit(Batch((AddTable(), DeleteTable()), mark_mask=1, generation=1))

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


def _table_flags() -> int:
    """0 as well when there is no table. A table made by the nft program has none; with one it sleeps, or another backend made
    it for an owner. The kernel is asked, for nft 1.0.6 stumbles over such a table when it lists it."""
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as kernel:
            state = table_state(kernel, OUR_TABLE)
    except OSError as error:
        raise ProgrammingError(str(error)) from error
    return 0 if state is None else state.flags
