"""Does a change of the ruleset deny anything that the old one allowed? Called by ``diff``; pure.

If so the generation must be raised, so that connections accepted before are judged again. Deciding "yes" without need costs
one walk of the rules for each connection; deciding "no" wrongly leaves a forbidden connection alive. So: yes, unless the change is one
of those known to be harmless.
"""

from __future__ import annotations

from stockade.dataplane.ir import Chain, NamedSet, Role, Ruleset, VerdictMap
from stockade.net.cidr import Block


def is_stricter(old: Ruleset, new: Ruleset) -> bool:
    return (
        any(_set_stricter(each, new.sets.get(name)) for name, each in old.sets.items())
        or any(_map_stricter(each, old, new) for each in new.maps.values())
        or any(_chain_stricter(chain, new.chains.get(name)) for name, chain in old.chains.items())
        or any(chain.role is Role.FRAME and name not in old.chains for name, chain in new.chains.items())
    )


def _set_stricter(old: NamedSet, new: NamedSet | None) -> bool:
    """A set that is gone had rules that are gone too: those answer."""
    if new is None or old.elements == new.elements:
        return False
    return not (old.widens and new.widens and old.elements <= new.elements)


def _map_stricter(new: VerdictMap, old: Ruleset, wanted: Ruleset) -> bool:
    """A direction newly isolated, or isolated by another profile. No longer isolated is harmless."""
    before = old.maps[new.name].elements if new.name in old.maps else {}
    return any(
        before.get(address) != chain and not _was_fenced(new, address, old, wanted)
        for address, chain in new.elements.items()
    )


def _was_fenced(mapping: VerdictMap, address: int, old: Ruleset, new: Ruleset) -> bool:
    """An address that could not talk before has no connection to cut."""
    family = mapping.key.family or 4
    programmed = old.sets.get(f"local{family}")
    block = Block(family, address, address)
    inside = any(fence.contains(block) for fence in old.fenced) and old.fenced == new.fenced
    return inside and programmed is not None and (address,) not in programmed.elements


def _chain_stricter(old: Chain, new: Chain | None) -> bool:
    if new is None:
        # Only maps lead to profile and deny chains: if a pod moved elsewhere, its map element answers.
        return old.role is Role.FRAME
    if old.role is Role.FRAME or new.role is Role.FRAME:
        return [r.meaning for r in old.rules] != [r.meaning for r in new.rules] or old.hook != new.hook
    if old.role is Role.DENY:
        return False
    return not {r.meaning for r in old.rules} <= {r.meaning for r in new.rules}
