"""Random worlds on the places of a fabric: pod N lives at place N. In: numbers of batches. Out: ClusterStates and the nodes' views.

Called by ``stockade.testing.witnesses``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings

from stockade.dataplane.lower import NodeView
from stockade.model.meta import View
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Pod
from stockade.net.cidr import Block, parse_address
from stockade.store.state import PODS, POLICIES, ClusterState
from stockade.testing.build import namespace, node, pod, policy
from stockade.testing.fabric import PLACES, addresses, node_of
from stockade.testing.strategies import BLOCKS, NAMESPACES, NODES, PORT_NAMES, PORTS, PROTOCOLS, worlds

Json = Any
BATCH = 20  # worlds drawn by hypothesis at a time


def random_worlds(number: int) -> Iterator[ClusterState]:
    """Without end; the same number draws the same worlds (with the same hypothesis). Three of four are ``dense``."""
    random = Random(number)  # noqa: S311 - no secret
    for batch in itertools.count():
        for state in _drawn(number * 1000 + batch):
            yield placed(state)
            for _ in range(3):
                yield dense(random)


def _drawn(number: int) -> list[ClusterState]:
    found: list[ClusterState] = []

    @seed(number)
    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def draw(state: ClusterState) -> None:
        if state.policies and len(state.pods) > 1:
            found.append(state)

    draw()
    return found


def dense(random: Random) -> ClusterState:
    """Eight pods, most of them isolated, and policies whose rules often match: what a hypothesis of small examples seldom draws."""
    objects: list[View] = [node(name, *ips) for name, ips in NODES.items()]
    objects += [namespace(name, _labels(random)) for name in NAMESPACES]
    objects += [_pod(random, place) for place in PLACES if random.random() < 0.95]
    objects += [_policy(random, f"np{number}") for number in range(random.randint(2, 7))]
    return ClusterState.of(objects)


def _labels(random: Random) -> dict[str, str]:
    return {key: random.choice("xy") for key in ("app", "tier") if random.random() < 0.8}


def _pod(random: Random, place: int) -> Pod:
    ports = [
        {
            "name": random.choice(PORT_NAMES),
            "containerPort": random.choice(PORTS),
            "protocol": random.choice(PROTOCOLS),
        }
        for _ in range(random.randint(0, 3))
    ]
    host = random.random() < 0.05
    ips = NODES[node_of(place)] if host else addresses(place)
    name = f"{random.choice(NAMESPACES)}/p{place}"
    return pod(name, _labels(random), *ips, ports=ports, on=node_of(place), host_network=host)


def _policy(random: Random, name: str) -> NetworkPolicy:
    types = random.choice([["Ingress", "Egress"], ["Ingress"], ["Egress"]])
    return policy(
        f"{random.choice(NAMESPACES)}/{name}",
        {
            "podSelector": _selector(random),
            "policyTypes": types,
            "ingress": [_rule(random, "from") for _ in range(random.randint(0, 3))],
            "egress": [_rule(random, "to") for _ in range(random.randint(0, 3))],
        },
    )


def _selector(random: Random) -> Json:
    key, value = random.choice(["app", "tier"]), random.choice("xy")
    return random.choice(
        [
            {},
            {"matchLabels": {key: value}},
            {
                "matchExpressions": [
                    {"key": key, "operator": random.choice(["In", "NotIn"]), "values": [value]}
                ]
            },
        ]
    )


def _rule(random: Random, peers: str) -> Json:
    rule = {}
    if random.random() < 0.85:
        rule[peers] = [_peer(random) for _ in range(random.randint(1, 3))]
    if random.random() < 0.8:
        rule["ports"] = [_port(random) for _ in range(random.randint(1, 4))]
    return rule


def _peer(random: Random) -> Json:
    if random.random() < 0.4:
        cidr = random.choice(sorted(BLOCKS))
        holes = random.sample(BLOCKS[cidr], min(len(BLOCKS[cidr]), random.randint(0, 2)))
        return {"ipBlock": {"cidr": cidr, "except": holes} if holes else {"cidr": cidr}}
    peer = {"podSelector": _selector(random)} if random.random() < 0.7 else {}
    if not peer or random.random() < 0.7:
        peer["namespaceSelector"] = _selector(random)
    return peer


def _port(random: Random) -> Json:
    shape = random.choice(["number", "number", "name", "range", "all"])
    item: Json = {"protocol": random.choice(PROTOCOLS)}
    if shape == "name":
        item["port"] = random.choice(PORT_NAMES)
    elif shape != "all":
        item["port"] = random.choice(PORTS)
    if shape == "range":
        item["endPort"] = random.randint(item["port"], 9000)
    return item


def placed(state: ClusterState) -> ClusterState:
    """Pod N at place N, under that place's addresses (one that has another's is left without), on that place's node."""
    return state.replacing({PODS: {ref: _placed(each) for ref, each in state.pods.items()}})


def _placed(each: Pod) -> Pod:
    place = int(each.ref.name.removeprefix("p"))
    raw = msgspec.to_builtins(each)
    raw["spec"]["nodeName"] = node_of(place)
    here = NODES[node_of(place)] if each.on_host_network else addresses(place)
    families = {":" in text for text in each.ips if each.on_host_network or text in here}
    ips = [text for text in here if (":" in text) in families]
    raw["status"] |= {"podIPs": [{"ip": text} for text in ips], "podIP": ips[0] if ips else ""}
    return msgspec.convert(raw, Pod)


def steps(state: ClusterState, random: Random) -> Iterator[ClusterState]:
    """The world, the same without one of its policies or with a pod relabelled, and again as it was."""
    yield state
    if state.policies and random.random() < 0.7:
        gone = random.choice(sorted(state.policies))
        yield state.replacing({POLICIES: {ref: each for ref, each in state.policies.items() if ref != gone}})
    elif state.pods:
        ref = random.choice(sorted(state.pods))
        each = state.pods[ref]
        meta = msgspec.structs.replace(each.metadata, labels=_labels(random))
        other = msgspec.structs.replace(each, metadata=meta)
        yield state.replacing({PODS: {**state.pods, ref: other}})
    yield state


def views() -> dict[str, NodeView]:
    """Each node fences its places, with or without a pod."""
    found = {}
    for name, ips in NODES.items():
        places = [
            parse_address(text) for place in PLACES if node_of(place) == name for text in addresses(place)
        ]
        blocks = tuple(Block(family, value, value) for family, value in places)
        found[name] = NodeView(name, blocks, tuple(parse_address(text) for text in ips))
    return found
