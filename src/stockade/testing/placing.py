"""Random worlds on the places of a fabric: pod N lives at place N. In: numbers of batches. Out: ClusterStates and the nodes' views.

Called by ``stockade.testing.witnesses``.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings

from stockade.dataplane.lower import NodeView
from stockade.model.objects import Pod
from stockade.net.cidr import Block, parse_address
from stockade.store.state import PODS, POLICIES, ClusterState
from stockade.testing.fabric import PLACES, addresses, node_of
from stockade.testing.strategies import NODES, worlds

BATCH = 50  # worlds drawn by hypothesis at a time


def random_worlds(number: int, count: int = BATCH) -> list[ClusterState]:
    """At most ``count``. The same number draws the same worlds (with the same hypothesis)."""
    found: list[ClusterState] = []

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def draw(state: ClusterState) -> None:
        if len(state.policies) > 1 and len(state.pods) > 3:  # others have little to ask
            found.append(placed(state))

    draw()
    return found


def placed(state: ClusterState) -> ClusterState:
    """Pod N at place N, under that place's addresses (one that has another's is left without), on that place's node."""
    return state.replacing({PODS: {ref: _placed(each) for ref, each in state.pods.items()}})


def _placed(pod: Pod) -> Pod:
    place = int(pod.ref.name.removeprefix("p"))
    raw = msgspec.to_builtins(pod)
    raw["spec"]["nodeName"] = node_of(place)
    here = NODES[node_of(place)] if pod.on_host_network else addresses(place)
    families = {":" in text for text in pod.ips if pod.on_host_network or text in here}
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
        pod = state.pods[ref]
        other = msgspec.structs.replace(
            pod, metadata=msgspec.structs.replace(pod.metadata, labels={"app": random.choice("xy")})
        )
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
