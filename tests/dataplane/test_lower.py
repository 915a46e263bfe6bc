"""What lands in the ruleset: subjects, peers, ports, families, the fence. Values are compared, not text."""

from __future__ import annotations

import pytest

from stockade.dataplane.ir import (
    Dispatch,
    Field,
    Goto,
    Identify,
    Member,
    PortWithin,
    Role,
    Ruleset,
    Within,
)
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.model.meta import View
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),), (parse_address("172.30.0.1"),))
HTTP = {"name": "http", "containerPort": 8080}


def local(name: str, ip: str, app: str = "", **more: object) -> View:
    return pod(name, {"app": app or name}, ip, on="node-1", **more)


def rules(*objects: View, node: NodeView = NODE) -> Ruleset:
    return lower(compile_state(ClusterState.of(objects)), node)


def egress(*rule: object, app: str = "a") -> View:
    spec = {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Egress"], "egress": list(rule)}
    return policy("p", spec)


def allow_rules(ruleset: Ruleset, code: str) -> list[tuple[object, ...]]:
    chains = [c for n, c in ruleset.chains.items() if n.startswith(f"{code}_") and c.role is Role.PROFILE]
    assert len(chains) == 1
    *allowing, last = chains[0].rules
    assert last.action == Goto(f"deny_{chains[0].name}")
    return [rule.matches for rule in allowing]


def identities(ruleset: Ruleset) -> set[int]:
    return set(ruleset.identities["id4"].elements)


def leads_to(ruleset: Ruleset, table: str, ip: str) -> str:
    return ruleset.maps[table].elements[ruleset.identities["id4"].elements[number(ip)]]


def addresses(ruleset: Ruleset, name: str) -> set[int]:
    return {element[0] for element in ruleset.sets[name].elements}


def number(text: str) -> int:
    return parse_address(text)[1]


def test_local_pods_have_an_identity_that_leads_to_their_chains() -> None:
    far = pod("b", {"app": "a"}, "10.244.1.9", on="node-2")
    ruleset = rules(local("a", "10.244.0.5"), local("c", "10.244.0.6"), far, egress())
    assert identities(ruleset) == {number("10.244.0.5"), number("10.244.0.6")}
    assert leads_to(ruleset, "eg", "10.244.0.5").startswith("e_")
    assert leads_to(ruleset, "reg", "10.244.0.5").startswith("re_")
    assert leads_to(ruleset, "in", "10.244.0.5") == "pass"
    assert leads_to(ruleset, "eg", "10.244.0.6") == "ingress"
    assert leads_to(ruleset, "reg", "10.244.0.6") == "ringress"


def test_rules_37_48_host_network_and_finished_pods_are_not_programmed() -> None:
    ruleset = rules(
        local("host", "172.30.0.1", host_network=True),
        local("done", "10.244.0.7", phase="Succeeded"),
        egress(app="host"),
    )
    assert not identities(ruleset)
    assert not ruleset.maps["eg"].elements
    assert not any(chain.role is Role.PROFILE for chain in ruleset.chains.values())


def test_pods_with_the_same_policies_share_one_profile() -> None:
    ruleset = rules(local("a1", "10.244.0.5", "a"), local("a2", "10.244.0.6", "a"), egress())
    assert len(ruleset.maps["eg"].elements) == 1
    assert len([c for c in ruleset.chains.values() if c.role is Role.PROFILE]) == 2


def test_selector_peer_is_a_set_of_all_nodes_pods_and_replies_are_mirrored() -> None:
    far = pod("b", {"app": "web"}, "10.244.1.9", on="node-2")
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    ruleset = rules(local("a", "10.244.0.5"), far, egress({"to": [peer], "ports": [{"port": 80}]}))
    ((port, member),) = allow_rules(ruleset, "e")
    assert isinstance(member, Member)
    assert member.fields == (Field.DADDR4,)
    assert addresses(ruleset, member.set) == {number("10.244.1.9")}
    assert port == PortWithin(6, Field.DPORT, 80, 80)
    ((back_port, back),) = allow_rules(ruleset, "re")
    assert back == Member((Field.SADDR4,), member.set)
    assert back_port == PortWithin(6, Field.SPORT, 80, 80)


def test_rule_20_block_minus_except_is_one_disjoint_interval_set() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    ruleset = rules(local("a", "10.244.0.5"), egress({"to": [block]}))
    ((member,),) = allow_rules(ruleset, "e")
    assert ruleset.sets[member.set].interval
    ends = {("10.0.0.0", "10.0.255.255"), ("10.2.0.0", "10.255.255.255")}
    assert ruleset.sets[member.set].elements == {(number(low), number(high)) for low, high in ends}


def test_one_interval_needs_no_set() -> None:
    ruleset = rules(local("a", "10.244.0.5"), egress({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}))
    assert allow_rules(ruleset, "e") == [(Within(Field.DADDR4, 10 << 24, (11 << 24) - 1),)]


def test_rules_25_26_named_port_resolves_on_destination_pods() -> None:
    web = local("web", "10.244.0.6", ports=[HTTP])
    plain = local("plain", "10.244.0.7")
    host = local("host", "172.30.0.1", ports=[HTTP], host_network=True)
    ruleset = rules(local("a", "10.244.0.5"), web, plain, host, egress({"ports": [{"port": "http"}]}))
    ((member,),) = allow_rules(ruleset, "e")
    assert member.fields == (Field.DADDR4, Field.PROTOCOL, Field.DPORT)
    assert ruleset.sets[member.set].elements == {(number("10.244.0.6"), 6, 8080)}


def test_rule_25_named_ingress_port_resolves_on_the_subject() -> None:
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": "http"}]}]}
    far = pod("far", {}, "10.244.1.9", ports=[HTTP], on="node-2")
    ruleset = rules(local("web", "10.244.0.6", ports=[HTTP]), far, policy("p", spec))
    ((member,),) = allow_rules(ruleset, "i")
    assert ruleset.sets[member.set].elements == {(number("10.244.0.6"), 6, 8080)}


def test_named_port_within_a_block_is_only_the_pods_in_it() -> None:
    near, out = local("web", "10.244.0.6", ports=[HTTP]), local("out", "10.244.0.200", ports=[HTTP])
    rule = {"to": [{"ipBlock": {"cidr": "10.244.0.0/25"}}], "ports": [{"port": "http"}]}
    ruleset = rules(local("a", "10.244.0.5"), near, out, egress(rule))
    ((member,),) = allow_rules(ruleset, "e")
    assert ruleset.sets[member.set].elements == {(number("10.244.0.6"), 6, 8080)}


def test_named_port_within_a_block_opens_nothing_in_the_other_family() -> None:
    """10.244.0.6 as a number lies within ::/0, and fd00::6 is beyond 0.0.0.0/0."""
    web = local("web", "10.244.0.6", ports=[HTTP])
    rule = {"to": [{"ipBlock": {"cidr": "::/0"}}], "ports": [{"port": "http"}]}
    ruleset = rules(local("a", "10.244.0.5"), web, egress(rule))
    assert all(not ruleset.sets[member.set].elements for (member,) in allow_rules(ruleset, "e"))


def test_named_ingress_port_is_mirrored_onto_the_reply_of_the_subject() -> None:
    spec = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}]}
    ruleset = rules(local("web", "10.244.0.6", ports=[HTTP]), policy("p", spec))
    ((peer, own),) = allow_rules(ruleset, "i")
    assert (peer.fields, own.fields) == ((Field.SADDR4,), (Field.DADDR4, Field.PROTOCOL, Field.DPORT))
    ((peer, own),) = allow_rules(ruleset, "ri")
    assert (peer.fields, own.fields) == ((Field.DADDR4,), (Field.SADDR4, Field.PROTOCOL, Field.SPORT))


def test_rule_12_all_is_one_rule_and_nothing_is_none() -> None:
    assert allow_rules(rules(local("a", "10.244.0.5"), egress({})), "e") == [()]
    assert allow_rules(rules(local("a", "10.244.0.5"), egress()), "e") == []


def test_rule_57_invalid_content_isolates_and_allows_nothing() -> None:
    ruleset = rules(local("a", "10.244.0.5"), egress({"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}))
    assert allow_rules(ruleset, "e") == []


def test_the_same_allowance_of_two_policies_is_one_rule() -> None:
    both = [
        policy(n, {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}], "policyTypes": ["Ingress"]})
        for n in "pq"
    ]
    ruleset = rules(local("a", "10.244.0.5"), *both)
    assert allow_rules(ruleset, "i") == [(PortWithin(6, Field.DPORT, 80, 80),)]


def test_a_family_nobody_has_costs_no_rule() -> None:
    peer = {"podSelector": {}}
    one = rules(local("a", "10.244.0.5"), egress({"to": [peer]}))
    assert len(allow_rules(one, "e")) == 1
    dual = pod("d", {}, "10.244.1.9", "fd00::9", on="node-2")
    assert len(allow_rules(rules(local("a", "10.244.0.5"), dual, egress({"to": [peer]})), "e")) == 2


def test_a_pod_that_comes_or_goes_changes_no_name() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    before = rules(local("a", "10.244.0.5"), egress({"to": [peer]}))
    after = rules(local("a", "10.244.0.5"), local("web", "10.244.0.6"), egress({"to": [peer]}))
    assert before.chains == after.chains
    assert set(before.sets) == set(after.sets)


def test_every_goto_and_lookup_has_a_target_and_every_set_a_reader() -> None:
    ruleset = rules(
        local("a", "10.244.0.5", ports=[HTTP]),
        egress({"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}, {"ports": [{"port": 53}]}),
    )
    read = set()
    for chain in ruleset.chains.values():
        for rule in chain.rules:
            read |= {match.set for match in rule.matches if isinstance(match, Member)}
            if isinstance(rule.action, Goto):
                assert rule.action.chain in ruleset.chains
            if isinstance(rule.action, Dispatch):
                assert rule.action.map in ruleset.maps
            if isinstance(rule.action, Identify):
                assert rule.action.map in ruleset.identities
                assert rule.action.chain in ruleset.chains
            assert not rule.counter or rule.counter in ruleset.counters
    assert all(target in ruleset.chains for m in ruleset.maps.values() for target in m.elements.values())
    # those of a family that nobody has yet are there and empty
    assert read | {"self6"} == set(ruleset.sets)
    counted = {rule.counter for chain in ruleset.chains.values() for rule in chain.rules}
    assert counted - {""} == set(ruleset.counters)


def test_overlapping_pod_blocks_are_fenced_once() -> None:
    inner, outer = parse_block("10.244.0.0/25"), parse_block("10.244.0.0/24")
    assert rules(node=NodeView("node-1", (inner, outer, inner))).fenced == (outer,)


@pytest.mark.parametrize("mask", [0, 0xF0F0, 0x1_0000_0000, 0x80000000])
def test_options_refuse_masks_that_cannot_hold_a_generation(mask: int) -> None:
    with pytest.raises(ValueError, match="mark mask"):
        Options(mark_mask=mask)
