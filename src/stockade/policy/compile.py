"""ClusterState in, CompiledPolicies out: the one place where NetworkPolicy objects are interpreted.

Called by the agent after each change, by the CLI and the analyses once. Shape of the result: ``policy.compiled``.

    pods --index--> bitmask --+--> SelectorPeer --+--> CompiledRule --> Profile (shared) --> PodEntry
    policies --directions-----+    BlockPeer -----+

Rules 1-5, 7-17, 37, 46-49, 57. Identifiers are hashes of what was written, never of who is selected at the moment: a
pod that comes or goes changes the members of a set and no name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.netpol import (
    EGRESS,
    INGRESS,
    EgressRule,
    IngressRule,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from stockade.model.objects import Pod
from stockade.model.selectors import LabelSelector
from stockade.net.cidr import Address
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import (
    BlockPeer,
    CompiledPolicies,
    CompiledRule,
    NamedPort,
    PodEntry,
    PortRange,
    Profile,
    RuleRef,
    Selection,
    SelectorPeer,
)
from stockade.policy.content import compile_block, compile_port, port_text, without
from stockade.policy.entries import live_pods, named_ports, node_addresses, owners, parse_all
from stockade.policy.selection import LabelIndex, bits, is_valid, valid_part
from stockade.store.state import ClusterState

DIRECTIONS = (EGRESS, INGRESS)


def compile_state(state: ClusterState, *, blocks_match_pods: bool = True) -> CompiledPolicies:
    """Total: whatever the state holds, there is a result, and invalid content never widens access.

    ``blocks_match_pods=False`` is the second reading of rule 19: an ipBlock then means addresses outside the cluster only.
    """
    pods = live_pods(state)
    by_address = owners(pods)
    compiler = _Compiler(state, pods, () if blocks_match_pods else by_address)
    profiles = {direction: compiler.profiles(direction) for direction in DIRECTIONS}
    nodes = node_addresses(state)
    entries = []
    for index, pod in enumerate(pods):
        own = parse_all(pod.ips)
        if pod.on_host_network:
            addresses = own or nodes.get(pod.spec.node_name, ())
        else:
            addresses = tuple(address for address in own if by_address[address] == index)
        entries.append(
            PodEntry(
                index=index,
                pod=pod,
                addresses=addresses,
                named_ports={} if pod.on_host_network else named_ports(pod),
                egress=profiles[EGRESS].get(index),
                ingress=profiles[INGRESS].get(index),
            )
        )
    by_ref = {entry.ref: entry.index for entry in entries}
    return CompiledPolicies(
        pods=tuple(entries),
        by_ref=by_ref,
        by_address=by_address,
        node_addresses=nodes,
        selections=compiler.selections,
    )


def compile_profiles() -> Callable[[str, Sequence[NetworkPolicy]], tuple[Profile, Mapping[str, Selection]]]:
    """A function that makes the profile of some policies, sorted by name, in one direction, and how its selectors choose. It knows no
    pods: ids and rules are those that ``compile_state`` would make, and its SelectorPeers choose nobody. It compiles each policy once."""
    compiler = _Compiler(ClusterState(), (), ())

    def profile(direction: str, policies: Sequence[NetworkPolicy]) -> tuple[Profile, Mapping[str, Selection]]:
        return compiler.profile(direction, policies), compiler.selections

    return profile


def effective_directions(policy: NetworkPolicy) -> frozenset[str]:
    """Values of policyTypes that nobody knows are ignored; when no known one is left, the API's default holds."""
    known = policy.directions & {INGRESS, EGRESS}
    return known or frozenset({INGRESS, EGRESS} if policy.spec.egress else {INGRESS})


def subject_selector(policy: NetworkPolicy) -> LabelSelector:
    """A selector with an invalid requirement isolates at least the pods it was meant for."""
    selector = policy.pod_selector
    return selector if is_valid(selector) else valid_part(selector)


class _Compiler:
    """The caches of one compilation."""

    def __init__(self, state: ClusterState, pods: tuple[Pod, ...], outside_blocks: Iterable[Address]) -> None:
        """``outside_blocks``: addresses that no block matches, whatever it says."""
        self.state = state
        self.pods = pods
        unmatched = list(outside_blocks)
        self._outside_blocks = {
            family: RangeSet((value, value) for own, value in unmatched if own == family) for family in (4, 6)
        }
        # Host-network pods are neither subject nor peer (rules 37, 38): no label of theirs is indexed.
        self._index = LabelIndex(None if pod.on_host_network else pod.labels for pod in self.pods)
        self._names = state.namespace_names()
        self._namespaces = LabelIndex(state.namespace(name).labels for name in self._names)
        self._members = dict.fromkeys(self._names, 0)
        for index in bits(self._index.everything):
            self._members[self.pods[index].metadata.namespace] |= 1 << index
        self._peers: dict[tuple[str, str | None, str | None], SelectorPeer | None] = {}
        self.selections: dict[str, Selection] = {}
        self._rules: dict[tuple[ObjectRef, str], tuple[CompiledRule, ...]] = {}

    def profiles(self, direction: str) -> dict[int, Profile]:
        """Pod index -> its profile, for the pods that are isolated in ``direction``."""
        isolating: dict[int, list[NetworkPolicy]] = {}
        for ref in sorted(self.state.policies):
            policy = self.state.policies[ref]
            if direction in effective_directions(policy):
                for index in bits(self._subjects(policy)):
                    isolating.setdefault(index, []).append(policy)
        shared: dict[tuple[ObjectRef, ...], Profile] = {}
        result = {}
        for index, policies in isolating.items():
            key = tuple(policy.ref for policy in policies)
            if key not in shared:
                shared[key] = self.profile(direction, policies)
            result[index] = shared[key]
        return result

    def _subjects(self, policy: NetworkPolicy) -> int:
        chosen = self._index.select(subject_selector(policy))
        return chosen & self._members.get(policy.ref.namespace, 0)

    def profile(self, direction: str, policies: Sequence[NetworkPolicy]) -> Profile:
        rules = tuple(rule for policy in policies for rule in self._policy_rules(policy, direction))
        refs = tuple(policy.ref for policy in policies)
        written = [[str(rule.ref), _peer_keys(rule), _port_keys(rule)] for rule in rules]
        identity = [direction, [str(ref) for ref in refs], written]
        return Profile(id=_digest(identity), direction=direction, policies=refs, rules=rules)

    def _policy_rules(self, policy: NetworkPolicy, direction: str) -> tuple[CompiledRule, ...]:
        key = policy.ref, direction
        if key not in self._rules:
            spec = policy.spec
            rules: Sequence[EgressRule | IngressRule] = (
                spec.egress if direction == EGRESS else spec.ingress
            ) or ()
            subject_known = is_valid(policy.pod_selector)
            self._rules[key] = tuple(
                CompiledRule(
                    ref=RuleRef(policy.ref, direction, at),
                    # Whom the rule was meant for is not known: it must not open anything.
                    peers=self._rule_peers(rule.peers, policy.ref.namespace) if subject_known else (),
                    ports=_rule_ports(rule.ports or []),
                )
                for at, rule in enumerate(rules)
            )
        return self._rules[key]

    def _rule_peers(
        self, items: list[NetworkPolicyPeer], namespace: str
    ) -> tuple[SelectorPeer | BlockPeer, ...] | None:
        """No item at all is "everybody"; items of which none is valid are nobody."""
        compiled = (self._peer(item, namespace) for item in items)
        return tuple(peer for peer in compiled if peer is not None) if items else None

    def _peer(self, item: NetworkPolicyPeer, namespace: str) -> SelectorPeer | BlockPeer | None:
        if item.ip_block is not None:
            alone = item.pod_selector is None and item.namespace_selector is None
            block = compile_block(item.ip_block) if alone else None
            outside = self._outside_blocks[block.family] if block else RangeSet()
            return without(block, outside) if block and outside else block
        pods, namespaces = item.pod_selector, item.namespace_selector
        if (pods is None and namespaces is None) or not (is_valid(pods) and is_valid(namespaces)):
            return None
        home = namespace if namespaces is None else ""
        key = home, _key(pods), _key(namespaces)
        if key not in self._peers:
            self._peers[key] = self._selector_peer(pods, namespaces, home)
        return self._peers[key]

    def _selector_peer(
        self, pods: LabelSelector | None, namespaces: LabelSelector | None, home: str
    ) -> SelectorPeer:
        if namespaces is None:
            inside = self._members.get(home, 0)
        else:
            chosen = bits(self._namespaces.select(namespaces))
            inside = _union(self._members[self._names[at]] for at in chosen)
        labelled = self._index.everything if pods is None else self._index.select(pods)
        key = _digest([home, _key(pods), _key(namespaces)])
        self.selections[key] = Selection(key, home, pods, namespaces)
        return SelectorPeer(
            key=key,
            pods=inside & labelled,
            text=_peer_text(pods, namespaces, home),
            in_namespaces=inside,
            labelled=labelled,
        )


def _key(selector: LabelSelector | None) -> str | None:
    """Not given and empty differ: nothing said, and everything."""
    return None if selector is None else selector.key


def _union(masks: Iterable[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result


def _rule_ports(items: list[NetworkPolicyPort]) -> tuple[PortRange | NamedPort, ...] | None:
    compiled = (compile_port(item) for item in items)
    return tuple(port for port in compiled if port is not None) if items else None


def _peer_text(pods: LabelSelector | None, namespaces: LabelSelector | None, home: str) -> str:
    who = "all pods" if pods is None or pods.is_empty else f"pods {pods}"
    if namespaces is None:
        return f"{who} in namespace {home}"
    return f"{who} in all namespaces" if namespaces.is_empty else f"{who} in namespaces {namespaces}"


def _peer_keys(rule: CompiledRule) -> list[str] | None:
    if rule.peers is None:
        return None
    return [peer.key if isinstance(peer, SelectorPeer) else peer.text for peer in rule.peers]


def _port_keys(rule: CompiledRule) -> list[str] | None:
    return None if rule.ports is None else [port_text(port) for port in rule.ports]


def _digest(content: object) -> str:
    return sha256(msgspec.json.encode(content)).hexdigest()[:12]
