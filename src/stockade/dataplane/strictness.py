"""Does a change of the ruleset deny anything that the old one allowed? Called by ``diff``; pure.

If so the generation must be raised, so that connections accepted before are judged again. Deciding "yes" without need costs
one walk of the rules for each connection; deciding "no" wrongly leaves a forbidden connection alive. So: yes, unless the change is one
of those known to be harmless. An address that goes is never harmless: the next pod that has it must not inherit its connections.
"""

from __future__ import annotations

from stockade.dataplane.ir import Chain, IdentityMap, KeyType, NamedSet, Role, Ruleset, VerdictMap
from stockade.net.cidr import Block


def is_stricter(old: Ruleset, new: Ruleset) -> bool:
    return (
        any(_set_stricter(each, new.sets.get(name)) for name, each in old.sets.items())
        or any(_identity_stricter(old, new, each) for each in new.identities.values())
        or any(_map_stricter(old, each) for each in new.maps.values())
        or any(_chain_stricter(chain, new.chains.get(name)) for name, chain in old.chains.items())
        or any(chain.role is Role.FRAME and name not in old.chains for name, chain in new.chains.items())
        or old.fenced != new.fenced
    )


def is_fenced(ruleset: Ruleset, key: KeyType, address: int) -> bool:
    """In a fenced block and without an identity: it cannot talk, so it has no connection to cut."""
    ids = ruleset.identities.get(f"id{key.family}")
    return ids is not None and address not in ids.elements and in_fence(ruleset, key, address)


def in_fence(ruleset: Ruleset, key: KeyType, address: int) -> bool:
    """In a fenced block, whether or not it has an identity."""
    block = Block(key.family or 4, address, address)
    return any(fence.contains(block) for fence in ruleset.fenced)


def _set_stricter(old: NamedSet, new: NamedSet | None) -> bool:
    """A set that is gone had rules that are gone too: those answer."""
    if new is None or old.elements is new.elements or old.elements == new.elements:
        return False
    return not (old.widens and new.widens and old.elements <= new.elements)


def _identity_stricter(old: Ruleset, new: Ruleset, ids: IdentityMap) -> bool:
    """An address that goes, one that was not fenced and comes, and one whose new chains allow less than its old ones."""
    held = old.identities.get(ids.name)
    before = held.elements if held else {}
    if any(address not in ids.elements for address in before):
        return True
    moves = set()
    for address, number in ids.elements.items():
        was = before.get(address)
        if was is not None:
            moves.add((was, number))
        elif not is_fenced(old, ids.key, address):
            return True
    return any(was != number and _move_stricter(old, new, was, number) for was, number in moves)


def _move_stricter(old: Ruleset, new: Ruleset, was: int, number: int) -> bool:
    """In any of the four ways: does the chain of identity ``number`` allow less than that of ``was``?"""
    for name, mapping in new.maps.items():
        held = old.maps.get(name)
        before = old.chains.get(held.elements.get(was, "")) if held else None
        after = new.chains.get(mapping.elements.get(number, ""))
        if before is None or after is None or _allows_less(before, after):
            return True
    return False


def _allows_less(old: Chain, new: Chain) -> bool:
    """Of chains that a verdict map leads to. A chain of the frame there is the one that judges on: not isolated."""
    if new.role is Role.FRAME:
        return False
    if old.role is Role.PROFILE and new.role is Role.PROFILE:
        return not _allowances(old) <= _allowances(new)
    return old.name != new.name or [r.meaning for r in old.rules] != [r.meaning for r in new.rules]


def _allowances(chain: Chain) -> set[object]:
    """But for the last rule, which goes to the chain's own deny chain."""
    return {rule.meaning for rule in chain.rules[:-1]}


def _map_stricter(old: Ruleset, new: VerdictMap) -> bool:
    """A number that means another pair of profiles now. One that comes or goes is answered by the addresses that have it."""
    held = old.maps.get(new.name)
    before = held.elements if held else {}
    return any(before.get(number, chain) != chain for number, chain in new.elements.items())


def _chain_stricter(old: Chain, new: Chain | None) -> bool:
    if new is None:
        # Only maps lead to profile and deny chains: if a pod moved elsewhere, its identity answers.
        return old.role is Role.FRAME
    if old is new:
        return False
    if old.role is Role.DENY and new.role is Role.DENY:
        return False
    before, after = ([rule.meaning for rule in chain.rules] for chain in (old, new))
    if old.role is Role.PROFILE and new.role is Role.PROFILE:
        return not set(before) <= set(after)
    return before != after or old.hook != new.hook
