"""The program ``nft`` run in a node's network namespace. Text goes in over stdin, never through a shell.

In: the namespace's descriptor, nft text. Out: rules in that namespace, or ProgrammingError with nft's own words. Called by the
Service proxy of each node. ``dataplane.nft`` serves the namespace of its own process; a lab's daemon serves several.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.node import netns

_TIMEOUT = 30.0
_ERROR_LIMIT = 2000


class NamespaceNft:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def load(self, text: str) -> None:
        """One transaction."""
        program = shutil.which("nft")
        if program is None:
            raise ProgrammingError("the program 'nft' is not installed: install the package nftables")

        def run() -> subprocess.CompletedProcess[str]:
            # A child of a thread starts in the thread's namespaces.
            return subprocess.run(
                [program, "-f", "-"],
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
