"""Compiled policies and one node in, the wanted ruleset of that node out. Called by the agent and ``stockade render``; pure.

Pods of this node with an address of their own are *programmed*: their addresses have an identity in ``id4``/``id6``, and the verdict maps
lead from it to the chains of their profiles, one for each direction. Pods of other nodes appear only as peers, in selector
sets. hostNetwork pods are the node (rules 37, 38); finished pods are gone (rule 48).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stockade.dataplane.identity import Pair, identities
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.members import Members
from stockade.dataplane.pieces import (
    FAMILIES,
    Contents,
    Frame,
    Piece,
    ProfileKey,
    assemble,
    frame,
    identity_map,
    own_set,
    piece,
)
from stockade.dataplane.sets import SetBuilder, Source
from stockade.dataplane.settings import NodeView, Options
from stockade.net.cidr import Block
from stockade.policy.compiled import CompiledPolicies, PodEntry

__all__ = ["Lowered", "NodeView", "Options", "is_local", "lower", "lower_with_sources", "pair_of"]


class Lowered(msgspec.Struct, frozen=True):
    """A ruleset, and for each set that depends on pods where its elements come from; ``pairs`` are the identities in use."""

    ruleset: Ruleset
    sources: dict[str, tuple[Source, ...]]
    pairs: dict[Pair, int]
    pieces: dict[ProfileKey, Piece]
    frame: Frame
    families: tuple[int, ...]


def lower(compiled: CompiledPolicies, node: NodeView, options: Options | None = None) -> Ruleset:
    return lower_with_sources(compiled, node, options).ruleset


def lower_with_sources(compiled: CompiledPolicies, node: NodeView, options: Options | None = None) -> Lowered:
    chosen = options or Options()
    local = tuple(entry for entry in compiled.pods if is_local(entry, node))
    members = Members(compiled, local)
    sets = SetBuilder(members)
    families = families_of((family for family, _ in compiled.by_address), node)
    profiles = {(p.direction, p.id): p for entry in local for p in (entry.egress, entry.ingress) if p}
    pieces = {key: piece(profiles[key], sets, families, chosen) for key in sorted(profiles)}
    pairs = identities(pair_of(entry) for entry in local)
    around = frame(_disjoint(node.pod_cidrs), chosen)
    contents = _contents(local, members, sets, pairs)
    ruleset = assemble(around, pieces, contents)
    return Lowered(ruleset, sets.sources, pairs, pieces, around, families)


def is_local(entry: PodEntry, node: NodeView) -> bool:
    return entry.pod.spec.node_name == node.name and not entry.pod.on_host_network


def pair_of(entry: PodEntry) -> Pair:
    return (entry.egress.id if entry.egress else "", entry.ingress.id if entry.ingress else "")


def families_of(present: Iterable[int], node: NodeView) -> tuple[int, ...]:
    """``present``: of the pods' addresses. Rules of a family that no pod and no pod block has would never match: leave them out."""
    found = set(present) | {block.family for block in node.pod_cidrs}
    return tuple(sorted(found)) or (4,)


def _contents(
    local: tuple[PodEntry, ...], members: Members, sets: SetBuilder, pairs: dict[Pair, int]
) -> Contents:
    own, maps = [], {}
    for family in FAMILIES:
        addresses = [(address, entry) for entry in local for address in members.addresses(entry, family)]
        own.append(own_set(family, (address for address, _ in addresses)))
        numbers = {address: pairs[pair_of(entry)] for address, entry in addresses}
        maps[f"id{family}"] = identity_map(family, numbers)
    return Contents(tuple(own), sets.sets, maps, pairs)


def _disjoint(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Without blocks inside other blocks."""
    kept: list[Block] = []
    for block in sorted(set(blocks), key=lambda b: (b.family, b.low, -b.high)):
        if not any(other.contains(block) for other in kept):
            kept.append(block)
    return tuple(kept)
