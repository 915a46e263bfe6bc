"""The tiers of one profile: Admin before NetworkPolicy before Baseline, and what Pass means in each."""

from __future__ import annotations

import msgspec
import pytest

from stockade.dataplane.ir import Field, Goto, PortWithin, Role, Rule, Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.simulate import Packet, simulate
from stockade.dataplane.strictness import is_stricter
from stockade.dataplane.tiers import Exits, TierRule, TierVerdict, tier_chains
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
A, OUT = "10.244.0.5", "192.0.2.1"
ACCEPT, DENY, PASS = TierVerdict.ACCEPT, TierVerdict.DENY, TierVerdict.PASS


def port(number: int) -> tuple[PortWithin, ...]:
    return (PortWithin(6, Field.DPORT, number, number),)


def tiered(
    *, isolated: bool, admin: list[tuple[int, TierVerdict]], baseline: list[tuple[int, TierVerdict]]
) -> Ruleset:
    """One pod, isolated by a policy that allows port 80 (its chains are then replaced by tiered ones)."""
    deny = policy("p", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 80}]}]})
    ruleset = lower(compile_state(ClusterState.of([pod("a", {}, A, on="node-1"), deny])), NODE)
    name = next(n for n, c in ruleset.chains.items() if n.startswith("e_") and c.role is Role.PROFILE)
    chains = tier_chains(
        name,
        Exits("ingress", f"deny_{name}"),
        (Rule(port(80), Goto("ingress")),) if isolated else None,
        admin=tuple(TierRule(port(number), verdict) for number, verdict in admin),
        baseline=tuple(TierRule(port(number), verdict) for number, verdict in baseline),
    )
    return msgspec.structs.replace(ruleset, chains={**ruleset.chains, **{c.name: c for c in chains}})


def allowed(ruleset: Ruleset, number: int) -> bool:
    source, destination = parse_address(A)[1], parse_address(OUT)[1]
    packet = Packet(family=4, source=source, destination=destination, protocol=6, sport=4000, dport=number)
    return simulate(ruleset, packet).accepted


def verdicts(ruleset: Ruleset) -> dict[int, bool]:
    return {number: allowed(ruleset, number) for number in (22, 80, 443)}


def test_without_outer_tiers_there_is_one_chain_whose_order_does_not_matter() -> None:
    ruleset = tiered(isolated=True, admin=[], baseline=[])
    assert verdicts(ruleset) == {22: False, 80: True, 443: False}
    assert not [name for name in ruleset.chains if name.endswith("_np")]


@pytest.mark.parametrize("isolated", [True, False])
def test_admin_decides_before_network_policy(isolated: bool) -> None:
    ruleset = tiered(isolated=isolated, admin=[(22, ACCEPT), (80, DENY)], baseline=[])
    assert verdicts(ruleset) == {22: True, 80: False, 443: not isolated}


def test_the_first_admin_rule_decides() -> None:
    assert allowed(tiered(isolated=False, admin=[(22, DENY), (22, ACCEPT)], baseline=[]), 22) is False
    assert allowed(tiered(isolated=False, admin=[(22, ACCEPT), (22, DENY)], baseline=[]), 22) is True


def test_pass_goes_on_to_network_policy_and_then_to_baseline() -> None:
    passing = [(80, PASS), (80, DENY), (22, PASS)]
    assert verdicts(tiered(isolated=True, admin=passing, baseline=[(80, DENY)])) == {
        22: False,
        80: True,
        443: False,
    }
    assert verdicts(tiered(isolated=False, admin=passing, baseline=[(80, DENY)])) == {
        22: True,
        80: False,
        443: True,
    }


def test_baseline_speaks_only_where_nothing_isolates_and_its_pass_allows() -> None:
    baseline = [(22, PASS), (22, DENY), (443, DENY)]
    assert verdicts(tiered(isolated=False, admin=[], baseline=baseline)) == {22: True, 80: True, 443: False}
    assert verdicts(tiered(isolated=True, admin=[], baseline=baseline)) == {22: False, 80: True, 443: False}


def test_any_change_of_order_counts_as_stricter() -> None:
    one = tiered(isolated=False, admin=[(22, ACCEPT), (80, DENY)], baseline=[])
    other = tiered(isolated=False, admin=[(80, DENY), (22, ACCEPT)], baseline=[])
    assert is_stricter(one, other)
    assert not is_stricter(one, one)
