"""Many questions about one world, drawn fast: what hypothesis is too careful for.

In: a ClusterState and a ``random.Random``. Out: Flows between live pods, addresses of pods and nodes, and hosts outside, in both
families, biased towards the ports and addresses that the world's policies talk about. Called by the property tests and the long run.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS
from stockade.net.cidr import format_address, parse_address
from stockade.policy.compiled import CompiledPolicies, PodEntry, PortRange, Profile
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


def aimed(compiled: CompiledPolicies, random: Random, count: int, numbers: Sequence[int]) -> list[Flow]:
    """Flows of isolated pods at the ports that one of their rules allows, as far as they are among ``numbers``: few random flows
    meet a rule. Empty when no pod has rules."""
    ends: list[Endpoint] = [PodEndpoint(entry.ref) for entry in compiled.pods]
    ends += [AddressEndpoint(*parse_address(text), text) for text in OUTSIDE]
    subjects = [
        (entry, profile)
        for entry in compiled.pods
        for profile in (entry.egress, entry.ingress)
        if profile is not None and profile.rules
    ]
    return [_aimed(random, *random.choice(subjects), ends, numbers) for _ in range(count if subjects else 0)]


def _aimed(
    random: Random, entry: PodEntry, profile: Profile, ends: list[Endpoint], numbers: Sequence[int]
) -> Flow:
    rule = random.choice(profile.rules)
    other = random.choice([end for end in ends if end != PodEndpoint(entry.ref)])
    port = None if rule.ports is None else random.choice(rule.ports or (None,))
    protocol = random.choice(_PROTOCOLS) if port is None else port.protocol
    fitting = [each for each in numbers if isinstance(port, PortRange) and port.lo <= each <= port.hi]
    pair = (PodEndpoint(entry.ref), other)
    source, destination = pair if profile.direction == EGRESS else pair[::-1]
    return Flow(
        source=source,
        destination=destination,
        protocol=protocol,
        port=None if protocol == ICMP else random.choice(fitting or numbers),
        family=other.family if isinstance(other, AddressEndpoint) else random.choice((4, 6)),
    )


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
