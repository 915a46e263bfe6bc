"""A Verdict as a proof that people and programs can read: frozen Structs, ready for JSON.

In: a Verdict. Out: a Proof with one DirectionProof each for egress and ingress (who was asked, which policies isolate,
which rules allow or how the nearest ones missed) and a summary of one line. Called by analysis, report and the agent's
events; how it looks on a screen is the report layer's business.
"""

from __future__ import annotations

import msgspec

from stockade.policy.verdict import ICMP, DirectionVerdict, Flow, Miss, Verdict


class NearMiss(msgspec.Struct, frozen=True):
    """A rule that could have allowed the flow and did not."""

    rule: str
    part: str
    detail: str


class DirectionProof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``sentence`` says all of it in one line."""

    direction: str
    allowed: bool
    reason: str
    sentence: str
    subject: str | None = None
    isolated_by: tuple[str, ...] = ()
    allowed_by: tuple[str, ...] = ()
    nearest: tuple[NearMiss, ...] = ()
    other_misses: int = 0  # how many more rules missed, farther off than ``nearest``


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``denied_direction`` is the one that is met first on the way: the cause."""

    flow: str
    allowed: bool
    summary: str
    egress: DirectionProof
    ingress: DirectionProof
    denied_direction: str | None = None


def explain(verdict: Verdict, *, nearest: int = 3) -> Proof:
    """At most ``nearest`` near misses per direction."""
    cause = verdict.denied_by
    return Proof(
        flow=flow_text(verdict.flow),
        allowed=verdict.allowed,
        summary=summary(verdict),
        egress=_direction(verdict.egress, nearest),
        ingress=_direction(verdict.ingress, nearest),
        denied_direction=cause.direction if cause else None,
    )


def summary(verdict: Verdict) -> str:
    """``pod a/x -> pod b/y TCP 80: denied by egress of a/x: isolated by a/deny, ...``."""
    cause = verdict.denied_by
    if cause is not None:
        return f"{flow_text(verdict.flow)}: denied, {_sentence(cause)}"
    deciding = [each for each in (verdict.egress, verdict.ingress) if each.allowed_by]
    why = "; ".join(_sentence(each) for each in deciding) or _why_open(verdict)
    return f"{flow_text(verdict.flow)}: allowed, {why}"


def flow_text(flow: Flow) -> str:
    port = "" if flow.protocol == ICMP or flow.port is None else f" {flow.port}"
    return f"{flow.source} -> {flow.destination} {flow.protocol}{port}"


def _why_open(verdict: Verdict) -> str:
    reasons = dict.fromkeys(
        each.reason for each in (verdict.egress, verdict.ingress) if each.subject is not None
    )
    return ", ".join(reasons) or "no pod of the cluster is involved"


def _direction(verdict: DirectionVerdict, nearest: int) -> DirectionProof:
    return DirectionProof(
        direction=verdict.direction,
        allowed=verdict.allowed,
        reason=verdict.reason,
        sentence=_sentence(verdict),
        subject=str(verdict.subject) if verdict.subject else None,
        isolated_by=tuple(str(ref) for ref in verdict.isolated_by),
        allowed_by=tuple(str(rule) for rule in verdict.allowed_by),
        nearest=tuple(near_miss(miss) for miss in verdict.misses[:nearest]),
        other_misses=max(0, len(verdict.misses) - nearest),
    )


def near_miss(miss: Miss) -> NearMiss:
    return NearMiss(rule=str(miss.rule), part=miss.part, detail=miss.detail)


def _sentence(verdict: DirectionVerdict) -> str:
    direction = verdict.direction.lower()
    if verdict.subject is None:
        return f"{direction}: {verdict.reason}"
    who = f"{direction} of pod {verdict.subject}"
    if verdict.allowed_by:
        return f"{who}: allowed by {', '.join(str(rule) for rule in verdict.allowed_by)}"
    if verdict.allowed:
        return f"{who}: {verdict.reason}"
    isolated = f"{who}: isolated by {', '.join(str(ref) for ref in verdict.isolated_by)}"
    if not verdict.misses:
        return (
            f"{isolated}, which has no {direction} rules"
            if len(verdict.isolated_by) == 1
            else (f"{isolated}, which have no {direction} rules")
        )
    first = verdict.misses[0]
    return f"{isolated}; no rule allows it, nearest {first.rule}: {first.detail}"
