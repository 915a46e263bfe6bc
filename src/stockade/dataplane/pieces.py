"""A ruleset put together from pieces, one for each profile in use. Called by ``lower`` (all pieces new) and ``live`` (most of them kept).

A profile's id is the hash of all that its chains say, so for the same families and options the same id always means the same chains, and a
piece may be kept for as long as a pod uses the profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from stockade.dataplane.chains import WAYS, profile_chains
from stockade.dataplane.deny import FENCE_COUNTER
from stockade.dataplane.frame import frame_chains, nd_set
from stockade.dataplane.identity import Pair
from stockade.dataplane.ir import Chain, Counter, IdentityMap, NamedSet, Ruleset, VerdictMap
from stockade.dataplane.names import deny_counter
from stockade.dataplane.sets import ADDRESS_KEY, SetBuilder
from stockade.dataplane.settings import Options
from stockade.model.netpol import EGRESS
from stockade.net.cidr import Block
from stockade.policy.compiled import Profile

FAMILIES = (4, 6)
ProfileKey = tuple[str, str]  # direction and id


class Piece(msgspec.Struct, frozen=True):
    """What is in the table for one profile. ``sets`` are the names that its rules look into, apart from the frame's."""

    chains: tuple[Chain, ...]
    counters: tuple[Counter, ...]
    sets: frozenset[str]


class Frame(msgspec.Struct, frozen=True):
    """What does not depend on policies."""

    chains: tuple[Chain, ...]
    counters: tuple[Counter, ...]
    nd_set: NamedSet
    fenced: tuple[Block, ...]
    mark_mask: int


class Contents(msgspec.Struct, frozen=True):
    """What depends on pods: ``own`` are the frame's sets of this node's pods, ``sets`` all others by name (more than are in use, maybe)."""

    own: tuple[NamedSet, ...]
    sets: Mapping[str, NamedSet]
    identities: Mapping[str, IdentityMap]
    pairs: Mapping[Pair, int]


def piece(profile: Profile, sets: SetBuilder, families: tuple[int, ...], options: Options) -> Piece:
    sets.asked.clear()
    chains = tuple(profile_chains(profile, sets, families, options))
    counters = tuple(_counters(profile, chains)) if options.counters else ()
    return Piece(chains, counters, frozenset(sets.asked))


def frame(fenced: tuple[Block, ...], options: Options) -> Frame:
    counters = (Counter(FENCE_COUNTER, note="no programmed pod"),) if options.counters else ()
    return Frame(tuple(frame_chains(fenced, options)), counters, nd_set(), fenced, options.mark_mask)


def assemble(around: Frame, pieces: Mapping[ProfileKey, Piece], contents: Contents) -> Ruleset:
    """Everything in the order of names and ids, so that the same state always gives the same text."""
    ordered = [pieces[key] for key in sorted(pieces)]
    used = sorted(set().union(*(each.sets for each in ordered)))
    chains = (*around.chains, *(chain for each in ordered for chain in each.chains))
    counters = (*around.counters, *(counter for each in ordered for counter in each.counters))
    return Ruleset(
        sets=_by_name((around.nd_set, *contents.own, *(contents.sets[name] for name in used))),
        identities=dict(contents.identities),
        maps=_by_name(_verdict_maps(contents.pairs)),
        counters=_by_name(counters),
        chains=_by_name(chains),
        fenced=around.fenced,
        mark_mask=around.mark_mask,
    )


def own_set(family: int, addresses: Iterable[int]) -> NamedSet:
    key = ADDRESS_KEY[family]
    doubled = frozenset((address, address) for address in addresses)
    return NamedSet(f"self{family}", (key, key), doubled, note="pods of this node, each with itself")


def identity_map(family: int, elements: dict[int, int]) -> IdentityMap:
    return IdentityMap(f"id{family}", ADDRESS_KEY[family], elements, note="programmed pods of this node")


def _verdict_maps(pairs: Mapping[Pair, int]) -> Iterator[VerdictMap]:
    for way in WAYS:
        elements = {}
        for (egress, ingress), number in pairs.items():
            profile = egress if way.direction == EGRESS else ingress
            elements[number] = f"{way.code}_{profile}" if profile else way.allowed
        subject = "replies, " if not way.first else ""
        yield VerdictMap(way.table, elements, note=f"identity to profile: {subject}{way.direction.lower()}")


def _counters(profile: Profile, chains: Iterable[Chain]) -> Iterator[Counter]:
    """What the profile denies, and what each policy rule lets begin: the latter is shared by profiles that have the rule."""
    policies = ", ".join(map(str, profile.policies))
    denied = deny_counter(profile.direction[0].lower(), profile.id)
    yield Counter(denied, note=f"{profile.direction} denied by {policies}")
    seen = set()
    for chain in chains:
        for rule in chain.rules:
            if rule.counter and rule.origin and rule.counter not in seen:
                seen.add(rule.counter)
                yield Counter(rule.counter, rule.origin, note=f"begun under {rule.origin}")


_Named = TypeVar("_Named", NamedSet, VerdictMap, Counter, Chain)


def _by_name(things: Iterable[_Named]) -> dict[str, _Named]:
    return {each.name: each for each in things}
