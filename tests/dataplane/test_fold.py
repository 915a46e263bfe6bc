"""Profiles of many rules: folded into few, with the same meaning."""

from __future__ import annotations

import random

from stockade.dataplane.fold import LIMIT
from stockade.dataplane.ir import Role, Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.simulate import Packet, simulate_connection
from stockade.model.meta import View
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.policy.ends import endpoint_for
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd44::/64")))
APPS = [f"app{number}" for number in range(8)]
PODS = [
    pod(
        f"p{n}",
        {"app": app},
        f"10.244.0.{n + 1}",
        f"fd44::{n + 1}",
        on="node-1",
        ports=[{"name": "http", "containerPort": 8000 + n}],
    )
    for n, app in enumerate(APPS)
]
PORTS = [*range(100, 130), 5000, 5050, 8003, 8005, 9]


def peer(rng: random.Random) -> object:
    kind = rng.randrange(20)
    if kind == 0:
        return {"ipBlock": {"cidr": f"10.244.0.{rng.randrange(0, 8) & ~1}/31"}}
    if kind == 1:
        return {"ipBlock": {"cidr": "fd44::/126"}}
    return {"podSelector": {"matchLabels": {"app": rng.choice(APPS)}}}


def port(rng: random.Random) -> object:
    kind = rng.randrange(8)
    if kind == 0:
        return {"port": "http"}
    if kind == 1:
        return {"port": 5000, "endPort": 5060, "protocol": "UDP"}
    if kind == 2:
        start = rng.randrange(100, 120)
        return {"port": start, "endPort": start + 3}
    return {"port": rng.randrange(100, 130), "protocol": rng.choice(["TCP", "UDP", "SCTP"])}


def policies(count: int, direction: str, seed: int) -> list[View]:
    rng = random.Random(seed)
    field = "to" if direction == "egress" else "from"
    made = []
    for number in range(count):
        rules = [{field: [peer(rng)], "ports": [port(rng), port(rng)]} for _ in range(3)]
        spec = {"podSelector": {}, "policyTypes": [direction.title()], direction: rules}
        made.append(policy(f"np{number}", spec))
    return made


def profile_sizes(ruleset: Ruleset) -> list[int]:
    return [len(chain.rules) for chain in ruleset.chains.values() if chain.role is Role.PROFILE]


def compared(state: ClusterState) -> tuple[Ruleset, list[bool]]:
    compiled = compile_state(state)
    ruleset = lower(compiled, NODE)
    verdicts = []
    for source in PODS:
        for target in PODS:
            for family in (4, 6):
                for number in PORTS:
                    for protocol, code in (("TCP", 6), ("UDP", 17)):
                        ends = [parse_address(each.ips[family == 6]) for each in (source, target)]
                        first, last = (endpoint_for(compiled, end) for end in ends)
                        allowed = evaluate(compiled, Flow(first, last, protocol, number, family)).allowed
                        packet = Packet(
                            family=family,
                            source=ends[0][1],
                            destination=ends[1][1],
                            protocol=code,
                            sport=53,
                            dport=number,
                        )
                        assert simulate_connection(ruleset, packet).accepted == allowed, (packet, allowed)
                        verdicts.append(allowed)
    return ruleset, verdicts


def test_many_policies_are_few_rules_of_the_same_meaning() -> None:
    made = [*policies(30, "egress", 1), *policies(30, "ingress", 2)]
    ruleset, verdicts = compared(ClusterState.of([*PODS, *made]))
    assert max(profile_sizes(ruleset)) <= LIMIT
    assert any(name.startswith("f4_") for name in ruleset.sets)
    assert 0.02 < sum(verdicts) / len(verdicts) < 0.98


def test_few_ports_need_no_concatenation() -> None:
    rules = [
        {"to": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": 80 + n % 3}]}
        for n, app in enumerate(APPS * 8)
    ]
    made = policy("p", {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules})
    ruleset = lower(compile_state(ClusterState.of([*PODS, made])), NODE)
    assert not any(name.startswith("f4_") for name in ruleset.sets)
    assert {len(ruleset.sets[name].elements) for name in ruleset.sets if name.startswith("u4_")} == {
        len(APPS)
    }
    assert max(profile_sizes(ruleset)) == 3 * 2 + 1


def test_small_profiles_keep_a_rule_and_a_counter_for_each_line() -> None:
    made = policies(3, "egress", 3)
    ruleset = lower(compile_state(ClusterState.of([*PODS, *made])), NODE)
    assert any(rule.counter.startswith("c_") for chain in ruleset.chains.values() for rule in chain.rules)
    assert not any(name[0] in "uf" for name in ruleset.sets)


def test_any_peer_stays_any_peer() -> None:
    rules = [{"ports": [{"port": 1000 + number}]} for number in range(60)]
    made = policy("p", {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules})
    ruleset = lower(compile_state(ClusterState.of([*PODS, made])), NODE)
    outside = Packet(
        family=4, source=parse_address("10.244.0.1")[1], destination=1, protocol=6, sport=1, dport=1059
    )
    assert simulate_connection(ruleset, outside).accepted
