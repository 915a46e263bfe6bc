"""Which features of NetworkPolicy a random world uses, and which outcomes its flows meet: what a fuzz run has really tried.

In: a ClusterState, or a Verdict. Out: names of features, each at most once per world (or flow). Called by the long run, which
counts them, and by a test that every name of ``WORLD_FEATURES`` and ``FLOW_FEATURES`` is met.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.model.netpol import EgressRule, IngressRule, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from stockade.model.objects import Pod
from stockade.model.selectors import DOES_NOT_EXIST, NOT_IN, LabelSelector
from stockade.policy.content import compile_block, compile_port
from stockade.policy.selection import is_valid
from stockade.policy.verdict import AddressEndpoint, DirectionVerdict, Verdict
from stockade.store.state import ClusterState

WORLD_FEATURES = (
    "pod: two families",
    "pod: IPv6 only",
    "pod: no address",
    "pod: host network",
    "pod: finished",
    "pod: terminating",
    "pod: address claimed twice",
    "pod: no labels",
    "pod: name for two ports",
    "namespace: implied",
    "namespace: no policy",
    "policy: both types",
    "policy: types left out",
    "policy: unknown type",
    "policy: rules of a direction without its type",
    "policy: empty selector",
    "policy: no rules",
    "policy: several select one pod",
    "rule: everything",
    "rule: ports only",
    "rule: peers only",
    "rule: several peers",
    "rule: several ports",
    "peer: pods",
    "peer: namespaces",
    "peer: pods and namespaces",
    "peer: all namespaces",
    "peer: namespace by its name",
    "peer: NotIn on an absent key",
    "peer: DoesNotExist",
    "peer: empty label value",
    "peer: block",
    "peer: block with except",
    "peer: IPv6 block",
    "peer: block over pods",
    "peer: invalid block",
    "peer: block and selector",
    "peer: empty item",
    "peer: invalid selector",
    "port: protocol left out",
    "port: number left out",
    "port: name",
    "port: name in egress without peers",
    "port: range",
    "port: range of one",
    "port: SCTP",
    "port: UDP",
    "port: invalid",
)
FLOW_FEATURES = (
    "flow: TCP",
    "flow: UDP",
    "flow: SCTP",
    "flow: ICMP",
    "flow: IPv6",
    "flow: from outside",
    "flow: to outside",
    "flow: to itself",
    "flow: from own node",
    "flow: host-network pod",
    "flow: allowed by a rule",
    "flow: allowed by several rules",
    "flow: denied by egress",
    "flow: denied by ingress",
    "flow: denied by both",
    "flow: nobody isolated",
)
_NAME_LABEL = "kubernetes.io/metadata.name"


def of_world(state: ClusterState) -> set[str]:
    found = {name for pod in state.pods.values() for name in _pod(pod)}
    claims = [ip for pod in state.pods.values() if not pod.on_host_network for ip in pod.ips]
    if len(claims) > len(set(claims)):
        found.add("pod: address claimed twice")
    used = {ref.namespace for ref in state.pods}
    if used - set(state.namespaces):
        found.add("namespace: implied")
    if used - {ref.namespace for ref in state.policies}:
        found.add("namespace: no policy")
    for policy in state.policies.values():
        found.update(_policy(policy, state))
    if any(_selecting(state, pod) > 1 for pod in state.pods.values()):
        found.add("policy: several select one pod")
    return found


def of_flow(state: ClusterState, verdict: Verdict) -> set[str]:
    flow = verdict.flow
    found = {f"flow: {flow.protocol}"}
    if flow.family == 6:
        found.add("flow: IPv6")
    found.update(_ends(state, verdict))
    sides = (verdict.egress, verdict.ingress)
    found.update(_outcome(verdict, [side for side in sides if side.subject is not None]))
    return found


def _ends(state: ClusterState, verdict: Verdict) -> Iterator[str]:
    flow = verdict.flow
    if verdict.egress.subject is None and isinstance(flow.source, AddressEndpoint):
        yield "flow: from outside"
    if verdict.ingress.subject is None and isinstance(flow.destination, AddressEndpoint):
        yield "flow: to outside"
    if verdict.egress.reason == "own address":
        yield "flow: to itself"
    if verdict.ingress.reason == "own node":
        yield "flow: from own node"
    ends = (flow.source, flow.destination)
    if any(not isinstance(end, AddressEndpoint) and state.pods[end.ref].on_host_network for end in ends):
        yield "flow: host-network pod"


def _outcome(verdict: Verdict, sides: list[DirectionVerdict]) -> Iterator[str]:
    if any(side.allowed_by for side in sides):
        yield "flow: allowed by a rule"
    if any(len(side.allowed_by) > 1 for side in sides):
        yield "flow: allowed by several rules"
    if not verdict.egress.allowed and not verdict.ingress.allowed:
        yield "flow: denied by both"
    elif not verdict.egress.allowed:
        yield "flow: denied by egress"
    elif not verdict.ingress.allowed:
        yield "flow: denied by ingress"
    if sides and all(side.reason == "not isolated" for side in sides):
        yield "flow: nobody isolated"


def _pod(pod: Pod) -> Iterator[str]:
    families = {":" in ip for ip in pod.ips}
    names = [(port.protocol, port.name) for port in pod.named_ports()]
    facts = {
        "pod: two families": len(families) == 2,
        "pod: IPv6 only": families == {True},
        "pod: no address": not families,
        "pod: host network": pod.on_host_network,
        "pod: finished": pod.is_finished,
        "pod: terminating": pod.metadata.deletion_timestamp is not None,
        "pod: no labels": not pod.labels,
        "pod: name for two ports": len(names) > len(set(names)),
    }
    yield from _true(facts)


def _selecting(state: ClusterState, pod: Pod) -> int:
    return sum(policy.pod_selector.matches(pod.labels) for policy in state.policies_in(pod.ref.namespace))


def _policy(policy: NetworkPolicy, state: ClusterState) -> Iterator[str]:
    types, spec = policy.spec.policy_types or [], policy.spec
    facts = {
        "policy: both types": {"Ingress", "Egress"} <= set(types),
        "policy: types left out": not types,
        "policy: unknown type": bool(set(types) - {"Ingress", "Egress"}),
        "policy: rules of a direction without its type": bool(
            types and ((spec.egress and "Egress" not in types) or (spec.ingress and "Ingress" not in types))
        ),
        "policy: empty selector": policy.pod_selector.is_empty,
        "policy: no rules": not spec.ingress and not spec.egress,
    }
    yield from _true(facts)
    rules: list[EgressRule | IngressRule] = [*(spec.egress or []), *(spec.ingress or [])]
    for rule in rules:
        yield from _rule(rule, state)


def _rule(rule: EgressRule | IngressRule, state: ClusterState) -> Iterator[str]:
    peers, ports = rule.peers, rule.ports or []
    facts = {
        "rule: everything": not peers and not ports,
        "rule: ports only": bool(ports) and not peers,
        "rule: peers only": bool(peers) and not ports,
        "rule: several peers": len(peers) > 1,
        "rule: several ports": len(ports) > 1,
        "port: name in egress without peers": isinstance(rule, EgressRule)
        and not peers
        and any(isinstance(port.port, str) for port in ports),
    }
    yield from _true(facts)
    for peer in peers:
        yield from _block(peer) if peer.ip_block is not None else _peer(peer, state)
    for port in ports:
        yield from _port(port)


def _block(peer: NetworkPolicyPeer) -> Iterator[str]:
    block = peer.ip_block
    assert block is not None
    compiled = compile_block(block)
    facts = {
        "peer: block": True,
        "peer: invalid block": compiled is None,
        "peer: block and selector": peer.pod_selector is not None or peer.namespace_selector is not None,
        "peer: block with except": bool(compiled and block.except_),
        "peer: IPv6 block": bool(compiled and compiled.family == 6),
        "peer: block over pods": block.cidr.startswith(("10.244.", "fd00:244:")),
    }
    yield from _true(facts)


def _peer(peer: NetworkPolicyPeer, state: ClusterState) -> Iterator[str]:
    pods, namespaces = peer.pod_selector, peer.namespace_selector
    selectors = [selector for selector in (pods, namespaces) if selector is not None]
    facts = {
        "peer: pods": pods is not None and namespaces is None,
        "peer: namespaces": namespaces is not None and pods is None,
        "peer: pods and namespaces": len(selectors) == 2,
        "peer: all namespaces": namespaces is not None and namespaces.is_empty,
        "peer: namespace by its name": namespaces is not None and _NAME_LABEL in namespaces.key,
        "peer: empty item": not selectors,
        "peer: invalid selector": not all(is_valid(selector) for selector in selectors),
        "peer: NotIn on an absent key": pods is not None and _not_in_absent(pods, state),
        "peer: DoesNotExist": any(DOES_NOT_EXIST in selector.key for selector in selectors),
        "peer: empty label value": any('""' in selector.key for selector in selectors),
    }
    yield from _true(facts)


def _not_in_absent(selector: LabelSelector, state: ClusterState) -> bool:
    keys = [each.key for each in selector.match_expressions or [] if each.operator == NOT_IN and each.values]
    return any(key not in pod.labels for key in keys for pod in state.pods.values())


def _port(port: NetworkPolicyPort) -> Iterator[str]:
    valid = compile_port(port) is not None
    ranged = valid and port.end_port is not None
    facts = {
        "port: protocol left out": valid and port.protocol is None,
        "port: number left out": valid and port.port is None,
        "port: name": valid and isinstance(port.port, str),
        "port: range": ranged and port.end_port != port.port,
        "port: range of one": ranged and port.end_port == port.port,
        "port: SCTP": valid and port.protocol == "SCTP",
        "port: UDP": valid and port.protocol == "UDP",
        "port: invalid": not valid,
    }
    yield from _true(facts)


def _true(facts: dict[str, bool]) -> Iterator[str]:
    return (name for name, holds in facts.items() if holds)
