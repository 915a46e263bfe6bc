"""Compiled policies and one node in, the wanted ruleset of that node out. Called by the agent and ``stockade render``; pure.

Pods of this node with an address of their own are *programmed*: their addresses have an identity in ``id4``/``id6``, and the verdict maps
lead from it to the chains of their profiles, one for each direction. Pods of other nodes appear only as peers, in selector
sets. hostNetwork pods are the node (rules 37, 38); finished pods are gone (rule 48).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from stockade.dataplane.chains import WAYS, profile_chains
from stockade.dataplane.deny import FENCE_COUNTER
from stockade.dataplane.frame import frame_chains, nd_set
from stockade.dataplane.identity import Pair, identities
from stockade.dataplane.ir import Chain, Counter, IdentityMap, NamedSet, Ruleset, VerdictMap
from stockade.dataplane.names import deny_counter
from stockade.dataplane.sets import ADDRESS_KEY, SetBuilder, Source
from stockade.dataplane.settings import NodeView, Options
from stockade.model.netpol import EGRESS
from stockade.net.cidr import Block
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile

__all__ = ["Lowered", "NodeView", "Options", "is_local", "lower", "lower_with_sources", "pair_of"]

FAMILIES = (4, 6)


class Lowered(msgspec.Struct, frozen=True):
    """A ruleset, and for each set that depends on pods where its elements come from; ``pairs`` are the identities in use."""

    ruleset: Ruleset
    sources: dict[str, tuple[Source, ...]]
    pairs: dict[Pair, int]


def lower(compiled: CompiledPolicies, node: NodeView, options: Options | None = None) -> Ruleset:
    return lower_with_sources(compiled, node, options).ruleset


def lower_with_sources(compiled: CompiledPolicies, node: NodeView, options: Options | None = None) -> Lowered:
    chosen = options or Options()
    local = tuple(entry for entry in compiled.pods if is_local(entry, node))
    sets = SetBuilder(compiled, local)
    families = _families(compiled, node)
    fenced = _disjoint(node.pod_cidrs)
    chains = {chain.name: chain for chain in frame_chains(fenced, chosen)}
    profiles = tuple(_profiles(local))
    for profile in profiles:
        for chain in profile_chains(profile, sets, families, chosen):
            chains[chain.name] = chain
    pairs = identities(pair_of(entry) for entry in local)
    frame = [nd_set(), *_own_sets(local, sets)]
    ruleset = Ruleset(
        sets={each.name: each for each in (*frame, *sorted(sets.sets.values(), key=lambda s: s.name))},
        identities={each.name: each for each in _identity_maps(local, sets, pairs)},
        maps={each.name: each for each in _verdict_maps(pairs)},
        counters={each.name: each for each in _counters(chains.values(), profiles, chosen)},
        chains=chains,
        fenced=fenced,
        mark_mask=chosen.mark_mask,
    )
    return Lowered(ruleset, sets.sources, pairs)


def is_local(entry: PodEntry, node: NodeView) -> bool:
    return entry.pod.spec.node_name == node.name and not entry.pod.on_host_network


def pair_of(entry: PodEntry) -> Pair:
    return (entry.egress.id if entry.egress else "", entry.ingress.id if entry.ingress else "")


def _families(compiled: CompiledPolicies, node: NodeView) -> tuple[int, ...]:
    """Rules of a family that no pod and no pod block has would never match: leave them out."""
    present = {family for family, _ in compiled.by_address}
    present |= {block.family for block in node.pod_cidrs}
    return tuple(sorted(present)) or (4,)


def _profiles(local: Iterable[PodEntry]) -> Iterator[Profile]:
    """Each once, in the order of their ids, so that the same state always gives the same text."""
    found = {(p.direction, p.id): p for entry in local for p in (entry.egress, entry.ingress) if p}
    yield from (found[key] for key in sorted(found))


def _own_sets(local: tuple[PodEntry, ...], sets: SetBuilder) -> Iterator[NamedSet]:
    for family in FAMILIES:
        key = ADDRESS_KEY[family]
        doubled = frozenset((a, a) for entry in local for a in sets.addresses(entry, family))
        yield NamedSet(f"self{family}", (key, key), doubled, note="pods of this node, each with itself")


def _identity_maps(
    local: tuple[PodEntry, ...], sets: SetBuilder, pairs: dict[Pair, int]
) -> Iterator[IdentityMap]:
    for family in FAMILIES:
        elements = {a: pairs[pair_of(entry)] for entry in local for a in sets.addresses(entry, family)}
        note = "programmed pods of this node"
        yield IdentityMap(f"id{family}", ADDRESS_KEY[family], elements, note=note)


def _verdict_maps(pairs: dict[Pair, int]) -> Iterator[VerdictMap]:
    for way in WAYS:
        elements = {}
        for (egress, ingress), number in pairs.items():
            profile = egress if way.direction == EGRESS else ingress
            elements[number] = f"{way.code}_{profile}" if profile else way.allowed
        yield VerdictMap(way.table, elements)


def _counters(chains: Iterable[Chain], profiles: tuple[Profile, ...], options: Options) -> Iterator[Counter]:
    if not options.counters:
        return
    yield Counter(FENCE_COUNTER, note="no programmed pod")
    seen = set()
    for profile in profiles:
        policies = ", ".join(map(str, profile.policies))
        code = profile.direction[0].lower()
        yield Counter(deny_counter(code, profile.id), note=f"{profile.direction} denied by {policies}")
    for chain in chains:
        for rule in chain.rules:
            if rule.counter and rule.origin and rule.counter not in seen:
                seen.add(rule.counter)
                yield Counter(rule.counter, rule.origin, note=f"begun under {rule.origin}")


def _disjoint(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Without blocks inside other blocks."""
    kept: list[Block] = []
    for block in sorted(set(blocks), key=lambda b: (b.family, b.low, -b.high)):
        if not any(other.contains(block) for other in kept):
            kept.append(block)
    return tuple(kept)
