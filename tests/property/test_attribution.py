"""Attribution asks a small part of the cluster, and says what the whole cluster would: for any two addresses, while the world changes."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.agent.addresses import AddressIndex
from stockade.net.cidr import Address, parse_address
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.ends import endpoint_for
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, Flow, Verdict
from stockade.store.state import ClusterState
from stockade.testing.strategies import NODES, OUTSIDE, PORTS, worlds

CHECKED = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def judged(
    compiled: CompiledPolicies, source: Address, destination: Address, protocol: str, port: int
) -> Verdict:
    flow = Flow(
        source=endpoint_for(compiled, source),
        destination=endpoint_for(compiled, destination),
        protocol=protocol,
        port=None if protocol == ICMP else port,
        family=source[0],
    )
    return evaluate(compiled, flow)


def addresses(state: ClusterState, family: int) -> list[Address]:
    texts = {*OUTSIDE, *(ip for ips in NODES.values() for ip in ips)}
    texts |= {ip for pod in state.pods.values() for ip in pod.ips}
    return sorted(each for each in map(parse_address, texts) if each[0] == family)


@CHECKED
@given(st.data(), st.lists(worlds(), min_size=1, max_size=3))
def test_the_part_says_what_the_whole_says(data: st.DataObject, states: list[ClusterState]) -> None:
    index = AddressIndex()
    for state in states:
        index.follow(state)
        whole = compile_state(state)
        for _ in range(6):
            known = addresses(state, data.draw(st.sampled_from([4, 4, 6])))
            source, destination = (data.draw(st.sampled_from(known)) for _ in range(2))
            protocol = data.draw(st.sampled_from(["TCP", "UDP", "SCTP", ICMP]))
            ends = source, destination, protocol, data.draw(st.sampled_from(PORTS))
            assert judged(index.compiled(source, destination), *ends) == judged(whole, *ends)


@settings(CHECKED, max_examples=25)
@given(st.lists(worlds(), min_size=2, max_size=3))
def test_an_index_that_followed_is_one_made_anew(states: list[ClusterState]) -> None:
    index = AddressIndex()
    for state in states:
        index.follow(state)
        fresh = AddressIndex()
        fresh.follow(state)
        assert index.node_addresses == fresh.node_addresses
        for each in (*addresses(state, 4), *addresses(state, 6)):
            assert {pod.ref for pod in index.pods(each)} == {pod.ref for pod in fresh.pods(each)}
