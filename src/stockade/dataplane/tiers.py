"""The chain or chains of one profile and way, from its tiers: Admin, NetworkPolicy, Baseline, in that order. Called by ``chains``.

    e_<p>     admin rules, the first that matches decides: accept ─► on; deny ─► deny_e_<p>; pass ─► e_<p>_np
    e_<p>_np  isolated: the allow rules of NetworkPolicies, else ─► deny_e_<p>
              not isolated: baseline rules, the first that matches decides (pass: on); else on

"On" is the chain that judges next: for egress the ingress of the destination, for both directions must allow (rule 5).
Without rules of the outer tiers one chain is enough, and in it the order of rules does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import msgspec

from stockade.dataplane.ir import Chain, Goto, Match, Role, Rule
from stockade.policy.compiled import RuleRef


class TierVerdict(Enum):
    """policy.networking.k8s.io ``action``."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105 - the API's word


class TierRule(msgspec.Struct, frozen=True):
    """One rule of a ClusterNetworkPolicy, in order of tier, priority and place."""

    matches: tuple[Match, ...]
    verdict: TierVerdict
    origin: RuleRef | None = None
    note: str = ""
    counter: str = ""


class Exits(msgspec.Struct, frozen=True):
    """Chains to go to from this profile: ``allowed`` judges on, ``denied`` is its deny chain."""

    allowed: str
    denied: str


def tier_chains(
    name: str,
    exits: Exits,
    allow: tuple[Rule, ...] | None,
    *,
    admin: tuple[TierRule, ...] = (),
    baseline: tuple[TierRule, ...] = (),
    note: str = "",
) -> Iterator[Chain]:
    """``allow`` are the rules of NetworkPolicies; None: none of them isolates the pods of this profile."""
    if allow is not None:
        inner = (*allow, Rule((), Goto(exits.denied), note="default deny"))
        role = Role.PROFILE
    else:
        inner = (*_ordered(baseline, exits, exits.allowed), Rule((), Goto(exits.allowed)))
        role = Role.ORDERED
    if not admin:
        yield Chain(name, inner, role, note=note)
        return
    passed = f"{name}_np"
    yield Chain(passed, inner, role, note=note)
    outer = (*_ordered(admin, exits, passed), Rule((), Goto(passed)))
    yield Chain(name, outer, Role.ORDERED, note=note)


def _ordered(rules: tuple[TierRule, ...], exits: Exits, passed: str) -> Iterator[Rule]:
    targets = {
        TierVerdict.ACCEPT: exits.allowed,
        TierVerdict.DENY: exits.denied,
        TierVerdict.PASS: passed,
    }
    for rule in rules:
        yield Rule(rule.matches, Goto(targets[rule.verdict]), rule.origin, rule.note, rule.counter)
