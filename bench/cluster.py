"""The cluster that the data plane's benchmarks load: so many pods of one node, so many policies, as in ``reference/dataplane.md`` 0.

In: pods and policies (and a seed). Out: a World of plain numbers, from which every layout makes its rules and from which ``state``
makes the objects for the public path. Called by ``dataplane``, ``programming``, ``cut`` and ``layouts``.

Each policy has three egress rules with a selector of fifty pods of other nodes each: one port, another port, a range of 51; TCP and UDP.
With more pods than policies every policy selects its share of the pods; with more policies than pods every pod has its share of them.
Selectors are drawn from at most 300, so a pod of another node is in five of them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import cached_property

import msgspec

from stockade.dataplane.settings import NodeView
from stockade.model.meta import ObjectMeta
from stockade.model.netpol import (
    EGRESS,
    EgressRule,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from stockade.model.objects import Namespace, Pod, PodIP, PodSpec, PodStatus
from stockade.model.selectors import LabelSelector
from stockade.net.cidr import format_address, parse_block
from stockade.store.state import ClusterState

Size = tuple[int, int]  # pods of this node, policies
SIZES: tuple[Size, ...] = ((10, 10), (100, 100), (1000, 1000), (5000, 1000))
SPACE, NODE = "bench", "node-1"
LOCAL, REMOTE = "10.64.0.0/16", "10.128.0.0/16"
PEERS, SELECTORS, PEER_SELECTORS = (
    50,
    300,
    5,
)  # pods of a selector, selectors at most, selectors that a peer is in
FIRST_PORTS, SECOND_PORTS, RANGES = (80, 8080, 5432), (443, 8443, 6379), (8000, 9000, 30000)
RANGE = 51
MOST_PODS = 60_000  # of the node's block
_FIRST_LOCAL, _FIRST_REMOTE = parse_block(LOCAL).low + 2, parse_block(REMOTE).low + 2


def size_of(text: str) -> Size:
    """For options: ``1000x1000``."""
    pods, cross, policies = text.partition("x")
    if (
        not cross
        or not pods.isdecimal()
        or not policies.isdecimal()
        or min(int(pods), int(policies)) < 1
        or int(pods) > MOST_PODS
    ):
        raise argparse.ArgumentTypeError(f"{text!r}: want pods x policies, such as 1000x1000")
    return int(pods), int(policies)


class Flow(msgspec.Struct, frozen=True):
    """One that is allowed."""

    source: int
    destination: int
    source_port: int
    port: int


class Allow(msgspec.Struct, frozen=True):
    """One egress rule: to the pods of ``selector``, ports ``low`` to ``high``, TCP and UDP."""

    selector: int
    low: int
    high: int


class Policy(msgspec.Struct, frozen=True):
    """``group``: the label value of the pods it selects; ``pods``: their numbers."""

    group: int
    pods: tuple[int, ...]
    rules: tuple[Allow, ...]


class World(msgspec.Struct, frozen=True, dict=True):
    """``pods``: addresses of this node's; ``peers``: of the others; ``selectors``: numbers of the peers in each."""

    size: Size
    pods: tuple[int, ...]
    peers: tuple[int, ...]
    selectors: tuple[tuple[int, ...], ...]
    policies: tuple[Policy, ...]

    def addresses(self, selector: int) -> Iterator[int]:
        return (self.peers[number] for number in self.selectors[selector])

    @cached_property
    def policies_of(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the policies of each pod."""
        found: list[list[int]] = [[] for _ in self.pods]
        for number, policy in enumerate(self.policies):
            for pod in policy.pods:
                found[pod].append(number)
        return tuple(map(tuple, found))


def world(size: Size, seed: int = 1) -> World:
    pods, policies = size
    rng = random.Random(seed)
    selectors = min(3 * policies, SELECTORS)
    peers = selectors * PEERS // PEER_SELECTORS
    members = tuple(tuple(rng.sample(range(peers), PEERS)) for _ in range(selectors))
    groups = min(pods, policies)
    made = []
    for number in range(policies):
        group = number % groups
        selected = tuple(pod for pod in range(group, pods, groups))
        made.append(Policy(group, selected, tuple(_allows(rng, selectors))))
    local = tuple(range(_FIRST_LOCAL, _FIRST_LOCAL + pods))
    remote = tuple(range(_FIRST_REMOTE, _FIRST_REMOTE + peers))
    return World(size, local, remote, members, tuple(made))


def _allows(rng: random.Random, selectors: int) -> Iterator[Allow]:
    for ports, more in ((FIRST_PORTS, 0), (SECOND_PORTS, 0), (RANGES, RANGE - 1)):
        low = rng.choice(ports)
        yield Allow(rng.randrange(selectors), low, low + more)


def flows(made: World, count: int, seed: int = 2) -> list[Flow]:
    """Different ones, each by a random pod, one of its rules, one of the rule's peers and ports."""
    rng = random.Random(seed)
    found: dict[Flow, None] = {}
    while len(found) < count:
        pod = rng.randrange(len(made.pods))
        rule = rng.choice(made.policies[rng.choice(made.policies_of[pod])].rules)
        peer = rng.choice(made.selectors[rule.selector])
        port = rng.randint(rule.low, rule.high)
        found[Flow(made.pods[pod], made.peers[peer], rng.randint(32768, 60999), port)] = None
    return list(found)


def state(made: World) -> ClusterState:
    groups = min(made.size)
    local = (pod(f"pod-{n}", address, {"group": str(n % groups)}) for n, address in enumerate(made.pods))
    labels: list[dict[str, str]] = [{} for _ in made.peers]
    for number, members in enumerate(made.selectors):
        for peer in members:
            labels[peer][selector_label(number)] = "yes"
    remote = (pod(f"peer-{n}", a, labels[n], node="node-2") for n, a in enumerate(made.peers))
    rules = (policy(f"policy-{n}", each.group, each.rules) for n, each in enumerate(made.policies))
    return ClusterState.of([Namespace(metadata=ObjectMeta(name=SPACE)), *local, *remote, *rules])


def node_view() -> NodeView:
    """The node's own block is fenced, as in real clusters."""
    return NodeView(NODE, (parse_block(LOCAL),), ((4, parse_block("172.30.0.0/16").low + 1),))


def selector_label(selector: int) -> str:
    return f"set-{selector}"


def pod(name: str, address: int, labels: dict[str, str], node: str = NODE) -> Pod:
    status = PodStatus(phase="Running", pod_ips=[PodIP(ip=format_address(4, address))])
    return Pod(
        metadata=ObjectMeta(name=name, namespace=SPACE, labels=labels),
        spec=PodSpec(node_name=node),
        status=status,
    )


def policy(name: str, group: int, rules: tuple[Allow, ...]) -> NetworkPolicy:
    egress = [EgressRule(to=[_peer(rule.selector)], ports=_ports(rule)) for rule in rules]
    spec = NetworkPolicySpec(
        pod_selector=LabelSelector(match_labels={"group": str(group)}), policy_types=[EGRESS], egress=egress
    )
    return NetworkPolicy(metadata=ObjectMeta(name=name, namespace=SPACE), spec=spec)


def _peer(selector: int) -> NetworkPolicyPeer:
    return NetworkPolicyPeer(pod_selector=LabelSelector(match_labels={selector_label(selector): "yes"}))


def _ports(rule: Allow) -> list[NetworkPolicyPort]:
    end = rule.high if rule.high > rule.low else None
    return [NetworkPolicyPort(protocol=name, port=rule.low, end_port=end) for name in ("TCP", "UDP")]
