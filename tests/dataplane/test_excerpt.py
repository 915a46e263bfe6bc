"""Parts of a ruleset for reviewers: everything that decides about a pod or comes from a policy, and nothing else."""

from __future__ import annotations

from stockade.dataplane.excerpt import memberships, of_pods, of_policy
from stockade.dataplane.ir import Goto, Member, Role, Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.render import excerpt
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Address, parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
A, B, C = (parse_address(f"10.244.0.{n}") for n in (5, 6, 7))
FROM_B = [{"podSelector": {"matchLabels": {"app": "b"}}}]
COMPILED = compile_state(
    ClusterState.of(
        [
            pod("a", {"app": "a"}, "10.244.0.5", on="node-1"),
            pod("b", {"app": "b"}, "10.244.0.6", on="node-1"),
            pod("c", {"app": "c"}, "10.244.0.7", on="node-1"),
            policy(
                "a",
                {
                    "podSelector": {"matchLabels": {"app": "a"}},
                    "ingress": [{"from": FROM_B, "ports": [{"port": 80}]}],
                },
            ),
            policy(
                "ac",
                {
                    "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "c"]}]},
                    "ingress": [{"from": FROM_B, "ports": [{"port": 80}, {"port": 443}]}],
                },
            ),
        ]
    )
)  # fmt: skip
WHOLE = lower(COMPILED, NODE)


def rules_of(part: Ruleset) -> list[str]:
    return [
        ", ".join(map(str, rule.origins))
        for chain in part.chains.values()
        for rule in chain.rules
        if rule.origins and chain.name.startswith("i_")
    ]


def addresses(part: Ruleset) -> set[Address]:
    return {(each.key.family or 4, address) for each in part.identities.values() for address in each.elements}


def test_a_pod_has_its_identity_and_what_this_leads_to() -> None:
    part = of_pods(WHOLE, [C])
    assert addresses(part) == {C}
    assert rules_of(part) == ["default/ac ingress[0]"] * 2
    assert all(chain.role is not Role.FRAME for chain in part.chains.values())
    named = {m.set for c in part.chains.values() for r in c.rules for m in r.matches if isinstance(m, Member)}
    assert set(part.sets) == named - {"self6"}
    assert part.sets["self4"].elements == {(C[1], C[1])}
    assert part.counters.keys() <= WHOLE.counters.keys()
    assert len(part.counters) == 2


def test_nothing_that_decides_about_the_pod_is_missing() -> None:
    part = of_pods(WHOLE, [A])
    for chain in part.chains.values():
        assert chain == WHOLE.chains[chain.name]
        for rule in chain.rules:
            if isinstance(rule.action, Goto) and WHOLE.chains[rule.action.chain].role is not Role.FRAME:
                assert rule.action.chain in part.chains
    for name, mapping in part.maps.items():
        (number,) = mapping.elements
        assert mapping.elements[number] == WHOLE.maps[name].elements[number]


def test_a_pod_that_is_not_isolated_has_no_chains() -> None:
    part = of_pods(WHOLE, [B])
    assert addresses(part) == {B}
    assert not part.chains
    assert {chain for each in part.maps.values() for chain in each.elements.values()} == {
        "ingress",
        "ringress",
        "pass",
    }


def test_a_policy_has_the_rules_it_wrote_alone_or_with_others() -> None:
    part = of_policy(WHOLE, ObjectRef("default", "a"), COMPILED)
    assert addresses(part) == {A}
    assert rules_of(part) == ["default/a ingress[0], default/ac ingress[0]"]
    both = of_policy(WHOLE, ObjectRef("default", "ac"), COMPILED)
    assert addresses(both) == {A, C}
    assert sorted(rules_of(both)) == [
        "default/a ingress[0], default/ac ingress[0]",
        "default/ac ingress[0]",
        "default/ac ingress[0]",
        "default/ac ingress[0]",
    ]


def test_where_a_pod_is_a_peer() -> None:
    (found,) = memberships(WHOLE, [B])
    assert found.note == "pods app=b in namespace default"
    assert memberships(WHOLE, [A]) == ()


def test_chains_come_before_those_that_deny() -> None:
    text = excerpt(of_pods(WHOLE, [A]), annotate=True)
    assert text.index("chain ri_") < text.index("chain deny_i_")
    assert "table inet" not in text
