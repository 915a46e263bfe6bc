"""The part of a ruleset that concerns some pods or one policy: for people who review, never for the kernel. Called by ``stockade render``.

In: a Ruleset and addresses of pods, or a policy. Out: a Ruleset of the same shape with the elements, chains, sets and counters that are
in their way; chains that are the same for everybody are left out. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import msgspec

from stockade.dataplane.chains import WAYS
from stockade.dataplane.ir import Chain, Goto, IdentityMap, Member, NamedSet, Role, Rule, Ruleset, VerdictMap
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Address
from stockade.policy.compiled import CompiledPolicies


def of_pods(ruleset: Ruleset, addresses: Iterable[Address]) -> Ruleset:
    """Their identities, the chains these lead to, and the sets that those chains look into."""
    own = frozenset(addresses)
    identities = _identities(ruleset, lambda family, address, _: (family, address) in own)
    numbers = {number for each in identities.values() for number in each.elements.values()}
    maps = _narrowed(ruleset, lambda number, _: number in numbers)
    return _cut(ruleset, identities, maps, _reached(ruleset, maps))


def of_policy(ruleset: Ruleset, policy: ObjectRef, compiled: CompiledPolicies) -> Ruleset:
    """The chains of the profiles in which ``policy`` isolates: of them the rules that it wrote, and how they end."""
    names = {
        f"{way.code}_{profile.id}"
        for entry in compiled.pods
        for profile in (entry.egress, entry.ingress)
        if profile and policy in profile.policies
        for way in WAYS
    }
    maps = _narrowed(ruleset, lambda _, chain: chain in names)
    numbers = {number for each in maps.values() for number in each.elements}
    identities = _identities(ruleset, lambda _family, _address, number: number in numbers)
    reached = {
        name: msgspec.structs.replace(chain, rules=tuple(r for r in chain.rules if _concerns(r, policy)))
        for name, chain in _reached(ruleset, maps).items()
    }
    return _cut(ruleset, identities, maps, reached)


def memberships(ruleset: Ruleset, addresses: Iterable[Address]) -> tuple[NamedSet, ...]:
    """Sets of peers in which one of ``addresses`` is: whoever may talk to these sets may talk to the pod."""
    own = frozenset(addresses)
    return tuple(
        each
        for each in ruleset.sets.values()
        if not each.interval
        and not _is_pairs(each)
        and any((each.key[0].family, element[0]) in own for element in each.elements)
    )


def _concerns(rule: Rule, policy: ObjectRef) -> bool:
    """The rules it wrote, alone or with others; and those of nobody, which say how the chain ends."""
    return not rule.origins or any(ref.policy == policy for ref in rule.origins)


def _identities(ruleset: Ruleset, keep: Callable[[int, int, int], bool]) -> dict[str, IdentityMap]:
    """``keep`` is asked with family, address and identity."""
    found = {}
    for name, each in ruleset.identities.items():
        family = each.key.family or 4
        kept = {address: number for address, number in each.elements.items() if keep(family, address, number)}
        found[name] = msgspec.structs.replace(each, elements=kept)
    return found


def _narrowed(ruleset: Ruleset, keep: Callable[[int, str], bool]) -> dict[str, VerdictMap]:
    return {
        name: msgspec.structs.replace(
            each, elements={n: chain for n, chain in each.elements.items() if keep(n, chain)}
        )
        for name, each in ruleset.maps.items()
    }


def _reached(ruleset: Ruleset, maps: dict[str, VerdictMap]) -> dict[str, Chain]:
    """Those that deny last, else in the ruleset's order."""
    open_ends = [chain for each in maps.values() for chain in each.elements.values()]
    found: set[str] = set()
    while open_ends:
        name = open_ends.pop()
        chain = ruleset.chains.get(name)  # None: of a part of a part, the frame is gone
        if chain is None or name in found or chain.role is Role.FRAME:
            continue
        found.add(name)
        open_ends += [rule.action.chain for rule in chain.rules if isinstance(rule.action, Goto)]
    chains = [chain for name, chain in ruleset.chains.items() if name in found]
    return {chain.name: chain for chain in sorted(chains, key=lambda chain: chain.role is Role.DENY)}


def _cut(
    ruleset: Ruleset,
    identities: dict[str, IdentityMap],
    maps: dict[str, VerdictMap],
    chains: dict[str, Chain],
) -> Ruleset:
    rules = [rule for chain in chains.values() for rule in chain.rules]
    named = {match.set for rule in rules for match in rule.matches if isinstance(match, Member)}
    counters = {rule.counter for rule in rules}
    own = {(each.key.family, address) for each in identities.values() for address in each.elements}
    sets = {name: _own(each, own) for name, each in ruleset.sets.items() if name in named}
    return msgspec.structs.replace(
        ruleset,
        sets={name: each for name, each in sets.items() if each.elements or not _is_pairs(each)},
        identities=identities,
        maps=maps,
        counters={name: each for name, each in ruleset.counters.items() if name in counters},
        chains=chains,
    )


def _own(each: NamedSet, own: AbstractSet[tuple[int | None, int]]) -> NamedSet:
    """Of self4 and self6 only what is the pods' own; of sets of peers everything."""
    if not _is_pairs(each):
        return each
    mine = frozenset(element for element in each.elements if (each.key[0].family, element[0]) in own)
    return msgspec.structs.replace(each, elements=mine)


def _is_pairs(each: NamedSet) -> bool:
    return len(each.key) == 2 and each.key[0] == each.key[1]
