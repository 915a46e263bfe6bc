"""What new policies would allow besides the path that was asked for: nothing, unless labels are shared.

In: the compiled policies of today and the grants. Out: flows that are denied today and would be allowed. Called by ``suggest``.
Grants only add (their subjects are isolated already), so a flow changes only if a grant covers it in a direction that denies it now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from stockade.analysis.remedy.grant import Grant
from stockade.analysis.remedy.peers import Peer
from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import AddressEndpoint, Endpoint, Flow, PodEndpoint

MAX_LOOKED_AT = 5_000
_Line = tuple[Endpoint, Endpoint, str, int]  # source, destination, protocol, port


def also_allowed(
    compiled: CompiledPolicies, grants: Iterable[Grant], asked: Iterable[tuple[Flow, int]]
) -> tuple[tuple[Flow, ...], bool]:
    """``asked``: flows that are meant, each with how many ports. Out: the others, and whether there may be more of them (so many
    pods share labels that not all pairs were looked at)."""
    grants = tuple(grants)
    meant = {
        (flow.source, flow.destination, flow.protocol, (flow.port or 0) + more)
        for flow, ports in asked
        for more in range(ports)
    }
    todo = (line for line in _unique(_lines(grants)) if line not in meant)
    granted = _Granted(grants)
    found: list[Flow] = []
    for line in islice(todo, MAX_LOOKED_AT):
        found += [flow for flow in _flows(compiled, line) if granted.changes(compiled, flow)]
    return tuple(found), next(todo, None) is not None


def _unique(lines: Iterable[_Line]) -> Iterator[_Line]:
    seen: set[_Line] = set()
    for line in lines:
        if line not in seen:
            seen.add(line)
            yield line


def _lines(grants: Iterable[Grant]) -> Iterator[_Line]:
    for grant in grants:
        for rule in grant.rules:
            for subject in map(PodEndpoint, grant.subjects.pods):
                for other in dict.fromkeys(end for peer in rule.peers for end in _parties(peer)):
                    ends = (subject, other) if grant.direction == EGRESS else (other, subject)
                    for protocol, first, last in rule.ports:
                        yield from ((*ends, protocol, number) for number in range(first, last + 1))


def _parties(peer: Peer) -> tuple[Endpoint, ...]:
    """The pods; a bare address only when no pod is known to have it."""
    return tuple(end for end in peer.ends if isinstance(end, PodEndpoint)) or peer.ends


def _flows(compiled: CompiledPolicies, line: _Line) -> Iterator[Flow]:
    """One for each family that both ends have; pods without addresses count as pods of any family."""
    families = {4, 6}
    for end in line[:2]:
        families &= _families(compiled, end) or families
    for family in sorted(families):
        yield Flow(*line, family)


def _families(compiled: CompiledPolicies, end: Endpoint) -> set[int]:
    if isinstance(end, AddressEndpoint):
        return {end.family}
    return {family for family, _ in compiled.pods[compiled.by_ref[end.ref]].addresses}


class _Granted:
    """Whether the grants turn a denial into a permission."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._grants = [
            (
                grant.direction,
                {PodEndpoint(ref) for ref in grant.subjects.pods},
                [(rule, [_Meaning(peer) for peer in rule.peers]) for rule in grant.rules],
            )
            for grant in grants
        ]

    def changes(self, compiled: CompiledPolicies, flow: Flow) -> bool:
        verdict = evaluate(compiled, flow)
        if verdict.allowed:
            return False
        egress = verdict.egress.allowed or self._covers(EGRESS, flow.source, flow.destination, flow)
        return egress and (
            verdict.ingress.allowed or self._covers(INGRESS, flow.destination, flow.source, flow)
        )

    def _covers(self, direction: str, subject: Endpoint, other: Endpoint, flow: Flow) -> bool:
        return any(
            rule.has_port(flow.protocol, flow.port)
            and any(other in each.ends and flow.family in each.families for each in peers)
            for own, subjects, rules in self._grants
            if own == direction and subject in subjects
            for rule, peers in rules
        )


class _Meaning:
    """A peer made quick to ask: a selector means pods in both families, a block its own."""

    def __init__(self, peer: Peer) -> None:
        self.ends = frozenset(peer.ends)
        blocks = {end.family for end in peer.ends if isinstance(end, AddressEndpoint)}
        self.families = blocks or {4, 6}
