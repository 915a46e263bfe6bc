"""Compiled policies and one node in, the wanted ruleset of that node out. Called by the agent and ``stockade render``; pure.

Pods of this node with an address of their own are *programmed*: they are in ``local4``/``local6``, and each direction in which
policies isolate them has an element in a verdict map that leads to the chains of their profile. Pods of other nodes appear
only as peers, in selector sets. hostNetwork pods are the node (rules 37, 38); finished pods are gone (rule 48).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.dataplane.chains import profile_chains
from stockade.dataplane.frame import frame_chains, nd_set
from stockade.dataplane.ir import KeyType, NamedSet, Ruleset, VerdictMap
from stockade.dataplane.sets import ADDRESS_KEY, SetBuilder
from stockade.dataplane.settings import NodeView, Options
from stockade.net.cidr import Block
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile

__all__ = ["NodeView", "Options", "lower"]


def lower(compiled: CompiledPolicies, node: NodeView, options: Options | None = None) -> Ruleset:
    chosen = options or Options()
    local = tuple(entry for entry in compiled.pods if _is_local(entry, node))
    sets = SetBuilder(compiled, local)
    families = _families(compiled, node)
    fenced = _disjoint(node.pod_cidrs)
    chains = {chain.name: chain for chain in frame_chains(fenced, chosen)}
    for profile in _profiles(local):
        for chain in profile_chains(profile, sets, families, chosen):
            chains[chain.name] = chain
    frame = [nd_set(), *_local_sets(local, sets)]
    return Ruleset(
        sets={each.name: each for each in (*frame, *sorted(sets.sets.values(), key=lambda s: s.name))},
        maps={each.name: each for each in _maps(local, sets)},
        chains=chains,
        fenced=fenced,
        mark_mask=chosen.mark_mask,
    )


def _is_local(entry: PodEntry, node: NodeView) -> bool:
    return entry.pod.spec.node_name == node.name and not entry.pod.on_host_network


def _families(compiled: CompiledPolicies, node: NodeView) -> tuple[int, ...]:
    """Rules of a family that no pod and no pod block has would never match: leave them out."""
    present = {family for family, _ in compiled.by_address}
    present |= {block.family for block in node.pod_cidrs}
    return tuple(sorted(present)) or (4,)


def _profiles(local: Iterable[PodEntry]) -> Iterator[Profile]:
    """Each once, in the order of their ids, so that the same state always gives the same text."""
    found = {(p.direction, p.id): p for entry in local for p in (entry.egress, entry.ingress) if p}
    yield from (found[key] for key in sorted(found))


def _local_sets(local: tuple[PodEntry, ...], sets: SetBuilder) -> Iterator[NamedSet]:
    for family in (4, 6):
        addresses = [address for entry in local for address in sets.addresses(entry, family)]
        key = ADDRESS_KEY[family]
        programmed = frozenset((address,) for address in addresses)
        yield NamedSet(f"local{family}", (key,), programmed, note="programmed pods of this node")
        doubled = frozenset((address, address) for address in addresses)
        yield NamedSet(f"self{family}", (key, key), doubled, note="the same, each with itself")


def _maps(local: tuple[PodEntry, ...], sets: SetBuilder) -> Iterator[VerdictMap]:
    for family in (4, 6):
        key: KeyType = ADDRESS_KEY[family]
        egress = {a: e.egress.id for e in local if e.egress for a in sets.addresses(e, family)}
        ingress = {a: e.ingress.id for e in local if e.ingress for a in sets.addresses(e, family)}
        for name, code, members in (
            ("eg", "e", egress),
            ("reg", "re", egress),
            ("in", "i", ingress),
            ("rin", "ri", ingress),
        ):
            yield VerdictMap(f"{name}{family}", key, {a: f"{code}_{p}" for a, p in members.items()})


def _disjoint(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Without blocks inside other blocks."""
    kept: list[Block] = []
    for block in sorted(set(blocks), key=lambda b: (b.family, b.low, -b.high)):
        if not any(other.contains(block) for other in kept):
            kept.append(block)
    return tuple(kept)
