"""A node cut off from the network, and healed: for trying what happens to policies while a node hears nothing.

In: the annotation ``stockade.dev/link: cut`` of a Node (``stockade node cut``, or anybody who may write it), watched in the registry.
Out: calls of ``cut`` and ``heal`` of that node, and of ``healed`` afterwards. Run by ``lab.cluster``. What a cut means for each part of a node, ``lab.nodes`` says;
``CUT`` is what it means for packets: none on the link to the others, none between the agent and the API.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from stockade.dataplane.programmer import ProgrammingError
from stockade.lab.apiserver.registry import JsonObject, Registry

ANNOTATION, VALUE = "stockade.dev/link", "cut"
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


class Partition:
    """Follows the Nodes until cancelled."""

    def __init__(
        self, registry: Registry, nodes: Iterable[Severable], healed: Callable[[Severable], None]
    ) -> None:
        self._registry = registry
        self._nodes = {node.name: node for node in nodes}
        self._healed = healed
        self._cut: set[str] = set()

    async def run(self) -> None:
        async for change in self._registry.watch("nodes"):
            node = self._nodes.get(change.object["metadata"]["name"])
            if node is None:
                continue
            try:
                await self._follow(node, is_cut(change.object) and change.type != "DELETED")
            except (OSError, ProgrammingError):
                log.exception("the link of %s", node.name)

    async def _follow(self, node: Severable, wanted: bool) -> None:
        if wanted == (node.name in self._cut):
            return
        if wanted:
            await node.cut()
            self._cut.add(node.name)
        else:
            await node.heal()
            self._cut.discard(node.name)
            self._healed(node)
        log.info("the link of %s is %s", node.name, "cut" if wanted else "healed")


def is_cut(node: JsonObject) -> bool:
    return (node["metadata"].get("annotations") or {}).get(ANNOTATION) == VALUE
