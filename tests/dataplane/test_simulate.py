"""The walk of single packets: mark, fence, neighbour discovery, invalid, hairpin, node traffic."""

from __future__ import annotations

import msgspec
import pytest

from stockade.dataplane.ir import PROTOCOLS, Chain, Goto, Rule, Ruleset
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.simulate import LoopError, Outcome, Packet, simulate, simulate_connection
from stockade.net.cidr import parse_address, parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE_IP = parse_address("172.30.0.1")
BRIDGE_IP = parse_address("10.244.0.1")
OWN = frozenset({NODE_IP, BRIDGE_IP})
NODE = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd44::/64")), (NODE_IP,))
DENY = policy("deny", {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Egress", "Ingress"]})
A, B, ABSENT, OUTSIDE = "10.244.0.5", "10.244.0.6", "10.244.0.99", "192.0.2.1"


@pytest.fixture
def ruleset() -> Ruleset:
    pods = (pod("a", {"app": "a"}, A, "fd44::5", on="node-1"), pod("b", {}, B, "fd44::6", on="node-1"))
    return lower(compile_state(ClusterState.of((*pods, DENY))), NODE)


def packet(source: str, destination: str, **more: object) -> Packet:
    family, start = parse_address(source)
    end = parse_address(destination)[1]
    fields = {"protocol": PROTOCOLS["TCP"], "sport": 40000, "dport": 80, **more}
    return Packet(family=family, source=start, destination=end, **fields)


def test_current_mark_passes_before_everything(ruleset: Ruleset) -> None:
    assert simulate(ruleset, packet(ABSENT, OUTSIDE, marked=True)).path == ("fwd_hook",)


def test_isolated_pod_is_denied_by_its_own_chain_and_the_other_passes_with_a_mark(ruleset: Ruleset) -> None:
    outcome = simulate(ruleset, packet(A, B))
    assert not outcome.accepted
    assert outcome.prefix.startswith("stockade|e|")
    assert simulate(ruleset, packet(B, A)).prefix.startswith("stockade|i|")
    path = ("fwd_hook", "check", "judge", "from_pod", "ingress", "pass", "remember")
    assert simulate(ruleset, packet(B, OUTSIDE)) == Outcome(accepted=True, marks=True, path=path)


@pytest.mark.parametrize("ends", [(ABSENT, OUTSIDE), (OUTSIDE, ABSENT), (B, ABSENT), (ABSENT, B)])
@pytest.mark.parametrize("reply", [False, True])
def test_fence_in_both_directions(ruleset: Ruleset, ends: tuple[str, str], reply: bool) -> None:
    assert simulate(ruleset, packet(*ends, reply=reply)).prefix == "stockade|fence|"


def test_fence_in_the_input_hook_stands_before_replies(ruleset: Ruleset) -> None:
    answer = packet(ABSENT, "172.30.0.1", reply=True, state="established")
    assert simulate(ruleset, answer, "input", OWN).prefix == "stockade|fence|"
    probe = packet(A, "172.30.0.1", reply=True, state="established")
    assert simulate(ruleset, probe, "input", OWN).accepted


def test_addresses_of_the_node_inside_a_pod_block_are_not_fenced(ruleset: Ruleset) -> None:
    assert simulate(ruleset, packet(B, "10.244.0.1"), "input", OWN).accepted
    assert simulate(ruleset, packet("10.244.0.1", "10.244.0.1"), "input", OWN).accepted
    assert not simulate(ruleset, packet(A, "10.244.0.1"), "input", OWN).accepted


def test_node_to_pod_has_no_hook_and_its_answers_come_in(ruleset: Ruleset) -> None:
    assert simulate_connection(ruleset, packet("172.30.0.1", A), OWN).accepted
    assert not simulate_connection(ruleset, packet(A, "172.30.0.1"), OWN).accepted


def test_neighbour_discovery_passes_unrouted_only(ruleset: Ruleset) -> None:
    solicit = packet("fd44::5", "fd44::99", protocol=PROTOCOLS["ICMPv6"], icmp_type=135, hop_limit=255)
    assert simulate(ruleset, solicit, "input", OWN).accepted
    assert simulate(ruleset, solicit).accepted
    assert not simulate(ruleset, msgspec.structs.replace(solicit, hop_limit=254)).accepted
    assert not simulate(ruleset, msgspec.structs.replace(solicit, icmp_type=128)).accepted


def test_related_errors_pass_but_not_the_fence(ruleset: Ruleset) -> None:
    assert simulate(ruleset, packet(OUTSIDE, A, state="related", protocol=1)).accepted
    assert not simulate(ruleset, packet(OUTSIDE, ABSENT, state="related", protocol=1)).accepted


def test_what_a_helper_expects_is_judged_like_any_connection(ruleset: Ruleset) -> None:
    assert not simulate(ruleset, packet(OUTSIDE, A, state="related")).accepted
    assert simulate(ruleset, packet(B, OUTSIDE, state="related")).marks


def test_invalid_packets_of_pods_are_dropped_silently_and_others_left_alone(ruleset: Ruleset) -> None:
    assert simulate(ruleset, packet(B, OUTSIDE, state="invalid")) == Outcome(
        accepted=False, path=("fwd_hook", "check", "judge", "invalid", "stray")
    )
    assert simulate(ruleset, packet(OUTSIDE, "198.51.100.1", state="invalid")).accepted


def test_rule_36_a_pod_reaches_itself(ruleset: Ruleset) -> None:
    assert simulate_connection(ruleset, packet(A, A)).accepted
    assert simulate_connection(ruleset, packet("fd44::5", "fd44::5")).accepted


def test_stale_replies_are_judged_as_the_first_packet_would_be(ruleset: Ruleset) -> None:
    reply = packet(B, A, reply=True, state="established")  # of a connection a opened before
    assert simulate(ruleset, reply).prefix.startswith("stockade|re|")
    reply = packet(A, B, reply=True, state="established")  # of a connection b opened before
    assert simulate(ruleset, reply).prefix.startswith("stockade|ri|")


def test_by_a_pod_interface_comes_only_what_its_pod_may_send() -> None:
    pods = (pod("b", {}, B, "fd44::6", on="node-1"),)
    options = Options(pod_interfaces=("veth*",))
    strict = lower(compile_state(ClusterState.of(pods)), NODE, options)
    veth = {"interface": "veth7"}
    for hook, target in (("forward", OUTSIDE), ("input", "172.30.0.1")):
        assert simulate(strict, packet(B, target, **veth), hook, OWN).accepted
        assert simulate(strict, packet(OUTSIDE, target, **veth), hook, OWN).prefix == "stockade|fence|"
        assert simulate(strict, packet(OUTSIDE, target, interface="eth0"), hook, OWN).accepted
        spoofed = packet(B, target, returns=False, **veth)
        assert simulate(strict, spoofed, hook, OWN).prefix == "stockade|fence|"
    link_local = packet("fe80::1", "fe80::2", **veth)
    assert simulate(strict, link_local, "input", OWN) == Outcome(
        accepted=False, path=("in_hook", "in_arrival")
    )
    solicit = msgspec.structs.replace(link_local, protocol=58, icmp_type=135, hop_limit=255)
    assert simulate(strict, solicit, "input", OWN).accepted


@pytest.mark.parametrize("name", ["", 'veth" accept', "a*b", "x" * 16, "veth**", "a b"])
def test_interface_names_cannot_carry_rules(name: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        Options(pod_interfaces=(name,))


def test_circles_are_an_error(ruleset: Ruleset) -> None:
    circle = {**ruleset.chains, "check": Chain("check", (Rule((), Goto("judge")),))}
    circle["judge"] = Chain("judge", (Rule((), Goto("check")),))
    with pytest.raises(LoopError, match="fwd_hook -> check -> judge -> check"):
        simulate(msgspec.structs.replace(ruleset, chains=circle), packet(A, B))
