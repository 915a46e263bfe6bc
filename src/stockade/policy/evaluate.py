"""``evaluate(compiled, flow) -> Verdict``: may this connection be opened, and why?

In: compiled policies and the first packet of a connection, after Service translation. Out: a Verdict that carries its
proof. Pure. Called by analysis, agent, lab and every test that compares the kernel with the specification.
Rules 2-6, 10-12, 33-38, 46, 57; the choices where the API leaves room are those of docs/architecture.md.
"""

from __future__ import annotations

from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy import nearest
from stockade.policy.compiled import CompiledPolicies, Profile
from stockade.policy.ends import End, UnknownPodError, end_of, endpoint_for, is_own_node
from stockade.policy.matching import Candidate, any_peer_matches, any_port_matches
from stockade.policy.verdict import DirectionVerdict, Flow, Verdict

__all__ = [
    "NOT_A_POD",
    "NOT_ISOLATED",
    "OWN_ADDRESS",
    "OWN_NODE",
    "UnknownPodError",
    "endpoint_for",
    "evaluate",
]

NOT_A_POD = "not a pod with its own network: no policy applies"
NOT_ISOLATED = "not isolated"
OWN_ADDRESS = "own address"
OWN_NODE = "own node"


def evaluate(compiled: CompiledPolicies, flow: Flow, *, misses: bool = True) -> Verdict:
    """Raises UnknownPodError when the flow names a pod that is not there.

    Without ``misses`` a denial does not say how near each rule was: for whoever asks about every pair and wants yes or no.
    """
    source, destination = end_of(compiled, flow.source), end_of(compiled, flow.destination)
    return Verdict(
        flow=flow,
        egress=_egress(source, destination, flow, misses=misses),
        ingress=_ingress(compiled, source, destination, flow, misses=misses),
    )


def _egress(source: End, destination: End, flow: Flow, *, misses: bool) -> DirectionVerdict:
    if source.entry is None:
        return _open(EGRESS, source, NOT_A_POD)
    if _is_self(source, destination):
        return _open(EGRESS, source, OWN_ADDRESS)
    candidate = _candidate(destination, destination, flow)
    return _judge(EGRESS, source, source.entry.egress, candidate, misses=misses)


def _ingress(
    compiled: CompiledPolicies, source: End, destination: End, flow: Flow, *, misses: bool
) -> DirectionVerdict:
    if destination.entry is None:
        return _open(INGRESS, destination, NOT_A_POD)
    if _is_self(source, destination):
        return _open(INGRESS, destination, OWN_ADDRESS)
    if is_own_node(compiled, source, destination.entry):
        return _open(INGRESS, destination, OWN_NODE)
    candidate = _candidate(source, destination, flow)
    return _judge(INGRESS, destination, destination.entry.ingress, candidate, misses=misses)


def _is_self(source: End, destination: End) -> bool:
    """A pod cannot block itself (rule 36); loopback never leaves it."""
    if destination.is_loopback and destination.entry is None:
        return True
    return source.entry is not None and source.entry is destination.entry


def _candidate(other: End, destination: End, flow: Flow) -> Candidate:
    return Candidate(
        other=other, destination=destination, protocol=flow.protocol, port=flow.port, family=flow.family
    )


def _open(direction: str, subject: End, reason: str) -> DirectionVerdict:
    ref = subject.entry.ref if subject.entry else None
    return DirectionVerdict(direction=direction, allowed=True, subject=ref, reason=reason)


def _judge(
    direction: str, subject: End, profile: Profile | None, flow: Candidate, *, misses: bool
) -> DirectionVerdict:
    if profile is None:
        return _open(direction, subject, NOT_ISOLATED)
    allowing = tuple(
        rule.ref for rule in profile.rules if any_port_matches(rule, flow) and any_peer_matches(rule, flow)
    )
    if allowing:
        reason = f"allowed by {allowing[0]}"
    else:
        reason = "isolated, and no rule allows it" if profile.rules else "isolated, and there are no rules"
    return DirectionVerdict(
        direction=direction,
        allowed=bool(allowing),
        subject=subject.entry.ref if subject.entry else None,
        isolated_by=profile.policies,
        allowed_by=allowing,
        misses=nearest.misses(profile.rules, flow) if misses and not allowing else (),
        reason=reason,
    )
