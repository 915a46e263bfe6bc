"""Where a verdict can change between one port and the next: the ports at which some rule begins or ends to match.

In: compiled policies. Out: sorted ports, each the first of a run on which every rule says the same. Called by
``analysis.ports`` and ``analysis.ask``, which judge one port of each run: exact, and a few questions instead of 65535.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stockade.policy.compiled import CompiledPolicies, PodEntry, PortRange, Profile
from stockade.policy.content import MAX_PORT
from stockade.store.state import ClusterState

FIRST_PORT = 1
Named = Mapping[tuple[str, str], tuple[int, ...]]


def starts(profiles: Iterable[Profile | None], named: Named, protocol: str) -> list[int]:
    """For one pair of ends: the profiles that judge it, and the named ports of the destination."""
    found = {FIRST_PORT}
    for profile in profiles:
        found.update(_cuts(profile, named, protocol) if profile else ())
    return sorted(port for port in found if FIRST_PORT <= port <= MAX_PORT)


def all_starts(state: ClusterState, compiled: CompiledPolicies, low: int, high: int) -> list[int]:
    """For any ends and protocol, within ``low..high``: also where a Service's ports are."""
    found = {low}
    for entry in compiled.pods:
        for numbers in entry.named_ports.values():
            found.update(_around(numbers))
    for profile in _profiles(compiled.pods):
        found.update(_cuts(profile, {}, None))
    for service in state.services.values():
        for each in service.spec.ports or []:
            found.update(_around((each.port, each.node_port or each.port)))
    return sorted(port for port in found if low <= port <= high)


def _profiles(pods: Iterable[PodEntry]) -> Iterable[Profile]:
    both = (profile for entry in pods for profile in (entry.egress, entry.ingress) if profile)
    return {id(profile): profile for profile in both}.values()


def _cuts(profile: Profile, named: Named, protocol: str | None) -> Iterator[int]:
    for rule in profile.rules:
        for port in rule.ports or ():
            if protocol is not None and port.protocol != protocol:
                continue
            if isinstance(port, PortRange):
                yield from (port.lo, port.hi + 1)
            else:
                yield from _around(named.get((port.protocol, port.name), ()))


def _around(numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        yield from (number, number + 1)
