"""The vocabulary of a path: what a pod does, step by step, to reach a name, and where it stops.

Values only, ready for JSON. Made by ``analysis.path``, read by report and cli.
"""

from __future__ import annotations

import msgspec

from stockade.analysis.remedy.values import Remedy
from stockade.analysis.target import Target
from stockade.model.meta import ObjectRef
from stockade.policy.explain import explain
from stockade.policy.verdict import AddressEndpoint, Flow, Verdict

LOOKUP, TRANSLATE, CONNECT = "lookup", "translate", "connect"
Origin = ObjectRef | AddressEndpoint  # a pod, or a host that is none
NO_FAMILY, NO_NAME = "no common address family", "no such name"
UNKNOWN_ADDRESS = "the address of {0} is not known here; give it with --resolve {0}=IP"


class PathQuery(msgspec.Struct, frozen=True):
    """``hosts``: addresses of names outside the cluster, where the caller knows them (the lab does). ``aim`` is the target
    when the caller has taken ``target`` apart already (one port of a range, a port given as an option). ``outside`` is
    given when no pod connects; ``source`` is then its text, without a namespace. ``blocks_match_pods``: whether an ipBlock may mean a
    pod's address (rule 19 has two readings). ``family`` is that of the address when the source was given as one."""

    source: ObjectRef
    target: str
    hosts: dict[str, str] = {}
    blocks_match_pods: bool = True
    aim: Target | None = None
    outside: AddressEndpoint | None = None
    family: int | None = None

    @property
    def namespace(self) -> str:
        return self.source.namespace or "default"


def query(
    origin: Origin,
    target: str,
    hosts: dict[str, str],
    aim: Target | None = None,
    *,
    blocks: bool = True,
    family: int | None = None,
) -> PathQuery:
    """For a pod or a host outside; ``blocks`` is ``blocks_match_pods``."""
    if isinstance(origin, ObjectRef):
        return PathQuery(origin, target, hosts, blocks, aim, None, family)
    return PathQuery(ObjectRef("", origin.text), target, hosts, blocks, aim, origin, family)


class Attempt(msgspec.Struct, frozen=True):
    """One connection to one backend."""

    flow: Flow
    verdict: Verdict

    @property
    def allowed(self) -> bool:
        return self.verdict.allowed


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """``ok`` when every attempt is allowed (and, for a translation, when there is somebody to connect to).
    ``questions``: the names a lookup asks for, in order; ``by_tcp``: its attempts by TCP, which only answers too large for a
    datagram need. ``stand_in``: nobody told the address, and what was judged is one that no rule means. ``trouble``: what else
    than a policy stops it (one of the constants above)."""

    kind: str
    title: str
    ok: bool
    detail: str
    attempts: tuple[Attempt, ...] = ()
    questions: tuple[str, ...] = ()
    by_tcp: tuple[Attempt, ...] = ()
    stand_in: bool = False
    trouble: str = ""
    undecided: bool = False


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` is the index of the first step that stops: the cause. Later steps are judged all the same, so that
    whoever mends the first sees what comes next. ``symptom``: what busybox wget (or ping) would print. ``remedy``: None
    when nothing is denied, or when nobody asked for one. ``port``: the one that the application connects to.
    ``elsewhere``: (client, text) for the same failure met by curl or by a program on glibc or musl."""

    query: PathQuery
    steps: tuple[Step, ...]
    allowed: bool
    undecided: bool = False
    failed: int | None
    cause: str
    symptom: tuple[str, ...]
    warnings: tuple[str, ...]
    remedy: Remedy | None = None
    port: int | None = None
    elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def possible(self) -> bool:
        """Some attempts succeed: with several backends a connection may be neither allowed nor denied."""
        return self.undecided or all(
            step.ok or any(attempt.allowed for attempt in step.attempts) for step in self.steps
        )


def attempts_step(
    kind: str, title: str, attempts: tuple[Attempt, ...], questions: tuple[str, ...] = ()
) -> Step:
    """A lookup or a connection, judged on every backend it may land on."""
    denied = [attempt for attempt in attempts if not attempt.allowed]
    if not denied:
        detail = explain(attempts[0].verdict).summary if attempts else "nothing to reach"
    else:
        detail = explain(denied[0].verdict).summary
        if len(denied) < len(attempts):
            detail = f"{_share(attempts, denied)}, so some attempts fail: {detail}"
    ok = bool(attempts) and not denied
    return Step(kind=kind, title=title, ok=ok, detail=detail, attempts=attempts, questions=questions)


def _share(attempts: tuple[Attempt, ...], denied: list[Attempt]) -> str:
    """Which of them are denied: those of one address family, or those to some of the backends."""
    closed = {attempt.flow.family for attempt in denied}
    still = {attempt.flow.family for attempt in attempts if attempt.allowed}
    if not closed & still:
        told = (" and ".join(f"IPv{family}" for family in sorted(each)) for each in (closed, still))
        return "differs by address family: denied by {}, allowed by {}".format(*told)
    ends = {(attempt.flow.destination, attempt.flow.port) for attempt in attempts}
    hit = {(attempt.flow.destination, attempt.flow.port) for attempt in denied}
    return f"denied for {len(hit)} of {len(ends)} backends"
