"""The program ``nft`` run in a node's network namespace. Text goes in over stdin, never through a shell.

In: the namespace's descriptor, nft text. Out: rules in that namespace, or ProgrammingError with nft's own words. Called by the
Service proxy of each node. ``dataplane.nft`` serves the namespace of its own process; a lab's daemon serves several.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import Any

import msgspec

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.node import netns
from stockade.lab.proxy.render import Affinities

_TIMEOUT = 30.0
_ERROR_LIMIT = 2000


class NamespaceNft:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def load(self, text: str) -> None:
        """One transaction."""
        await self._run(["-f", "-"], text)

    async def affinities(self, family: str, table: str) -> Affinities:
        """The clients in the sets of sticky Services of a table of ours."""
        listed = msgspec.json.decode(await self._run(["-j", "list", "table", family, table], ""))
        sets = [entry["set"] for entry in listed["nftables"] if "timeout" in entry.get("set", ())]
        return {each["name"]: [_client(item) for item in each.get("elem", ())] for each in sets}

    async def _run(self, arguments: list[str], text: str) -> str:
        program = shutil.which("nft")
        if program is None:
            raise ProgrammingError("the program 'nft' is not installed: install the package nftables")

        def run() -> subprocess.CompletedProcess[str]:
            # A child of a thread starts in the thread's namespaces.
            return subprocess.run(
                [program, *arguments],
                input=text,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )

        try:
            done = await asyncio.to_thread(netns.inside, self._fd, run)
        except subprocess.TimeoutExpired:
            raise ProgrammingError(f"nft did not finish within {_TIMEOUT:g} s") from None
        if done.returncode != 0:
            message = done.stderr.strip()[:_ERROR_LIMIT]
            raise ProgrammingError(message or f"nft ended with status {done.returncode}")
        return done.stdout


def _client(item: Any) -> tuple[str, int]:
    """Address and seconds left; an element without a life time of its own is its address alone."""
    if not isinstance(item, dict):
        return str(item), 0
    return str(item["elem"]["val"]), int(item["elem"].get("expires") or 0)
