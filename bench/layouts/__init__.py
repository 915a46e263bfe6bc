"""Rulesets that say the same in different ways, each loaded into the router of a triple: ours and those of others, rebuilt as rules.

In: a World and a router's Namespace. Out: the rules in force, and a function that ends what helps them. Called by ``dataplane``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import msgspec

from cluster import World
from layouts import iptables, nftables, userspace
from layouts.names import (
    CONNTRACK,
    KUBE_ROUTER,
    KUBE_ROUTER_NFT,
    LINEAR,
    NONE,
    OURS,
    USERSPACE,
)
from triples import Namespace

Load = Callable[[Namespace, World], Callable[[], None]]


class Layout(msgspec.Struct, frozen=True):
    """``programs`` must be installed. ``load`` gives what to call at the end."""

    name: str
    programs: tuple[str, ...]
    load: Load

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(program for program in self.programs if shutil.which(program) is None)


def _nothing(namespace: Namespace, made: World) -> Callable[[], None]:
    del namespace, made
    return lambda: None


def _quiet(load: Callable[[Namespace, World], None]) -> Load:
    def loaded(namespace: Namespace, made: World) -> Callable[[], None]:
        load(namespace, made)
        return lambda: None

    return loaded


LEGACY, NFT = "iptables-legacy-restore", "iptables-nft-restore"
LAYOUTS = (
    Layout(NONE, (), _nothing),
    Layout(CONNTRACK, ("nft",), _quiet(nftables.conntrack)),
    Layout(OURS, ("nft",), _quiet(nftables.ours)),
    Layout(LINEAR, (LEGACY, "ipset"), _quiet(iptables.linear)),
    Layout(KUBE_ROUTER, (LEGACY, "ipset"), _quiet(iptables.kube_router(LEGACY))),
    Layout(KUBE_ROUTER_NFT, (NFT, "ipset"), _quiet(iptables.kube_router(NFT))),
    Layout(USERSPACE, (LEGACY,), userspace.load),
)
