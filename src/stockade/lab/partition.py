"""A node cut off from the network or paused, and back again: for trying what happens to policies while a node hears nothing.

In: the annotations ``stockade.dev/link: cut`` and ``stockade.dev/state: paused`` of a Node (``stockade node cut``, ``pause``, or anybody who may
write them), watched in the registry. Out: calls of ``cut``, ``heal``, ``pause`` and ``resume`` of that node, and of ``healed`` after a cut. Run by
``lab.cluster``. What either means for each part of a node, ``lab.nodes`` says; ``cut_text`` is what a cut means for packets: none on the link
to the others, none between the agent and the API.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.apiserver.registry import JsonObject, Registry

LINK, CUT = "stockade.dev/link", "cut"
STATE, PAUSED = "stockade.dev/state", "paused"
_TABLE = "table inet stockade-cut"
HEAL = f"add {_TABLE}\ndelete {_TABLE}\n"

log = logging.getLogger(__name__)


def cut_text(link: str, api_port: int) -> str:
    """nft text: nothing passes ``link``, nor the loopback to ``api_port``; silently, as a pulled cable does it."""
    return f"""{HEAL}{_TABLE} {{
\tchain prerouting {{
\t\ttype filter hook prerouting priority -310; policy accept;
\t\tiifname "{link}" drop
\t\tiifname "lo" tcp dport {api_port} drop
\t\tiifname "lo" tcp sport {api_port} drop
\t}}
\tchain postrouting {{
\t\ttype filter hook postrouting priority 310; policy accept;
\t\toifname "{link}" drop
\t}}
}}
"""


class Severable(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def netns(self) -> int: ...

    async def cut(self) -> None: ...

    async def heal(self) -> None: ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...


class Partition:
    """Follows the Nodes until cancelled."""

    def __init__(
        self, registry: Registry, nodes: Iterable[Severable], healed: Callable[[Severable], None]
    ) -> None:
        self._registry = registry
        self._nodes = {node.name: node for node in nodes}
        self._healed = healed
        self._cut: set[str] = set()
        self._paused: set[str] = set()

    async def run(self) -> None:
        async for change in self._registry.watch("nodes"):
            node = self._nodes.get(change.object["metadata"]["name"])
            if node is None:
                continue
            there = change.type != "DELETED"
            try:
                await self._follow(node, there and is_cut(change.object), there and is_paused(change.object))
            except (OSError, ProgrammingError):
                log.exception("the link of %s", node.name)

    async def _follow(self, node: Severable, cut: bool, paused: bool) -> None:
        """Asleep first, awake last: what it hears first is then what is so."""
        if paused:
            await self._turn(self._paused, node, True, node.pause, "paused")
        turned = await self._turn(
            self._cut, node, cut, node.cut if cut else node.heal, "cut" if cut else "healed"
        )
        if turned and not cut:
            self._healed(node)
        if not paused:
            await self._turn(self._paused, node, False, node.resume, "resumed")

    async def _turn(
        self, held: set[str], node: Severable, wanted: bool, turn: Callable[[], Awaitable[None]], word: str
    ) -> bool:
        """Whether anything had to be done."""
        if wanted == (node.name in held):
            return False
        await turn()
        (held.add if wanted else held.discard)(node.name)
        log.info("%s is %s", node.name, word)
        return True


def is_cut(node: JsonObject) -> bool:
    return _annotation(node, LINK) == CUT


def is_paused(node: JsonObject | None) -> bool:
    return node is not None and _annotation(node, STATE) == PAUSED


def _annotation(node: JsonObject, name: str) -> object:
    return (node["metadata"].get("annotations") or {}).get(name)
