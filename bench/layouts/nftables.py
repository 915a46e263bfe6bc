"""Ours, by the public path, and the least that any policy needs: conntrack. Called by ``layouts``."""

from __future__ import annotations

import asyncio

from cluster import World, state
from node import Node
from triples import Namespace

_CONNTRACK = """\
table inet bench {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
    }
}
"""


def conntrack(namespace: Namespace, made: World) -> None:
    del made
    namespace.run("nft", "-f", "-", text=_CONNTRACK)


def ours(namespace: Namespace, made: World) -> None:
    """With every default: counters, log, fence."""
    namespace.do(lambda: asyncio.run(Node(state(made)).start()))
