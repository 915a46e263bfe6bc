"""Many questions about one world, drawn fast: what hypothesis is too careful for.

In: a ClusterState and a ``random.Random``. Out: Flows between live pods, addresses of pods and nodes, and hosts outside, in both
families, biased towards the ports and addresses that the world's policies talk about. Called by the property tests and the long run.
"""

from __future__ import annotations

from random import Random

from stockade.model.meta import ObjectRef
from stockade.net.cidr import format_address, parse_address
from stockade.policy.verdict import ICMP, AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState
from stockade.testing.strategies import NODES, OUTSIDE, PORTS

_PROTOCOLS = ("TCP", "TCP", "TCP", "UDP", "UDP", "SCTP", ICMP)
_NUMBERS = (*PORTS, *PORTS, 1, 79, 82, 8999, 9000, 65535)


def sample(state: ClusterState, random: Random, count: int) -> list[Flow]:
    """Two flows may be alike."""
    pods = [PodEndpoint(ref) for ref in sorted(state.pods) if not state.pods[ref].is_finished]
    texts = sorted({*OUTSIDE, *(ip for ips in NODES.values() for ip in ips)})
    texts += sorted({ip for pod in state.pods.values() for ip in pod.ips})
    addresses = [AddressEndpoint(*parse_address(text), text) for text in texts]
    return [_flow(random, pods, addresses) for _ in range(count)]


def _flow(random: Random, pods: list[PodEndpoint], addresses: list[AddressEndpoint]) -> Flow:
    source = _end(random, pods, addresses)
    # Mostly somebody else: a pod that talks to itself is a short story.
    others = [pod for pod in pods if pod != source] if random.random() < 0.97 else pods
    destination = _end(random, others, addresses)
    protocol = random.choice(_PROTOCOLS)
    families = {each.family for each in (source, destination) if isinstance(each, AddressEndpoint)}
    return Flow(
        source=source,
        destination=destination,
        protocol=protocol,
        port=None if protocol == ICMP else random.choice(_NUMBERS),
        family=min(families) if families else random.choice((4, 4, 6)),
    )


def _end(random: Random, pods: list[PodEndpoint], addresses: list[AddressEndpoint]) -> Endpoint:
    return random.choice(pods) if pods and random.random() < 0.75 else random.choice(addresses)


def who(end: Endpoint) -> ObjectRef | str:
    """As ``policy.reference`` is asked."""
    return end.ref if isinstance(end, PodEndpoint) else format_address(end.family, end.address)
