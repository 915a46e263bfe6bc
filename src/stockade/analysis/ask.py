"""One question of a user, answered for every pod and every port it is about.

In: a ClusterState and a Question (FROM and TO as typed). Out: an Answer: a Path for each source pod and each run of ports on
which nothing changes. Called by ``stockade check``, ``explain`` and ``test``. Pure.

    FROM --source--> origins --+
    TO --target--> aims -------+--> trace --> Case, Case, ...   (allowed when every case is)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import msgspec

from stockade.analysis import atoms
from stockade.analysis.path import World, prepare, target_words, trace_in
from stockade.analysis.remedy.suggest import Asked, Run, suggest
from stockade.analysis.remedy.values import Remedy
from stockade.analysis.source import origin_of, origins, parse_source
from stockade.analysis.steps import Origin, Path, query
from stockade.analysis.target import Target, TargetError, at_port, parse_target, with_ports
from stockade.model.meta import ObjectRef
from stockade.policy.verdict import ICMP
from stockade.store.state import ClusterState


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``namespace`` is for references without one. ``target_namespace``: the same for TO when somebody said it (-n); empty means
    the namespace of the pod that connects. Host names follow that pod's search list, whatever is said here."""

    source: str
    target: str
    namespace: str = "default"
    target_namespace: str = ""
    hosts: dict[str, str] = {}
    port: str = ""
    protocol: str = ""
    blocks_match_pods: bool = True


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """``ports``: the part of an asked range that this path speaks for; None when no range was asked."""

    path: Path
    ports: tuple[int, int] | None = None

    @property
    def source(self) -> str:
        return origin_of(self.path.query)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``groups``: the cases by outcome; the first group is that of ``deciding``. ``remedy``: one change for all cases; None
    when nothing is denied, or when nobody asked for one."""

    question: Question
    cases: tuple[Case, ...]
    groups: tuple[tuple[Case, ...], ...]
    remedy: Remedy | None = None

    @property
    def allowed(self) -> bool:
        return all(case.path.allowed for case in self.cases)

    @property
    def undecided(self) -> bool:
        """Nothing is denied for certain, and an address that nobody told decides."""
        failing = [case.path for case in self.cases if not case.path.allowed]
        return bool(failing) and all(path.undecided for path in failing)

    @property
    def denied(self) -> bool:
        """In every case and by every backend; an answer may be neither allowed nor denied."""
        return not any(case.path.possible for case in self.cases)

    @property
    def agree(self) -> bool:
        return self.allowed or self.denied

    @property
    def deciding(self) -> Case:
        return self.groups[0][0]


def ask(state: ClusterState, question: Question, *, with_remedy: bool = False) -> Answer:
    """Raises TargetError and UnknownPodError, both with a sentence for people."""
    world = prepare(state, blocks_match_pods=question.blocks_match_pods)
    answer = ask_in(world, question)
    if answer.allowed or answer.undecided or not with_remedy:
        return answer
    return msgspec.structs.replace(answer, remedy=_remedy(world, answer))


def ask_in(world: World, question: Question) -> Answer:
    """The same for callers with several questions about one state."""
    cases: list[Case] = []
    starts = cache(partial(atoms.all_starts, world.state, world.compiled))  # the same for every source
    for origin in origins(world.compiled, parse_source(question.source, question.namespace)):
        cases += _merged(_cases(world, question, origin, starts))
    grouped: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        grouped.setdefault(_outcome(case.path), []).append(case)
    groups = sorted(grouped.values(), key=lambda group: group[0].path.allowed)  # stable: what is denied first
    return Answer(question=question, cases=tuple(cases), groups=tuple(map(tuple, groups)))


def aim_of(question: Question, origin: Origin) -> Target:
    """What TO means for one source."""
    own = origin.namespace if isinstance(origin, ObjectRef) else question.namespace
    namespace = question.target_namespace or own
    target = parse_target(question.target, namespace)
    if question.protocol.upper() == ICMP and (question.port or target.port is not None):
        port = question.port or target.port
        raise TargetError(f"ICMP has no ports: leave out port {port}, or ask for another protocol")
    return with_ports(target, question.port, question.protocol)


def _remedy(world: World, answer: Answer) -> Remedy:
    question = answer.question
    source = parse_source(question.source, question.namespace)
    home = source.ref.namespace if source.ref else question.namespace
    name = source.ref.name if source.ref else source.node or source.address
    first = answer.cases[0].path.query
    target = aim_of(question, first.outside or first.source)
    asked = Asked(name, home, target_words(target, home, answer.cases[0].path.port))
    runs = [Run(case.path.steps, _count(case.ports)) for case in answer.cases]
    return suggest(world.state, world.compiled, runs, asked)


def _count(ports: tuple[int, int] | None) -> int:
    return ports[1] - ports[0] + 1 if ports else 1


def path_to(world: World, question: Question, origin: Origin, aim: Target) -> Path:
    """The way from one source to one target at one port, under the question's options. A typed source address fixes the family."""
    family = parse_source(question.source, question.namespace).family
    blocks = question.blocks_match_pods
    return trace_in(world, query(origin, question.target, question.hosts, aim, blocks=blocks, family=family))


def _cases(
    world: World, question: Question, origin: Origin, starts: Callable[[int, int], list[int]]
) -> Iterator[Case]:
    target = aim_of(question, origin)

    def one(aim: Target) -> Path:
        return path_to(world, question, origin, aim)

    if target.port is None or target.last_port is None:
        yield Case(path=one(target))
        return
    first = starts(target.port, target.last_port)
    for low, following in zip(first, [*first[1:], target.last_port + 1], strict=True):
        yield Case(path=one(at_port(target, low)), ports=(low, following - 1))


def _merged(cases: Iterator[Case]) -> list[Case]:
    """Neighbouring runs with the same outcome are one."""
    found: list[Case] = []
    for case in cases:
        last = found[-1] if found else None
        if last and last.ports and case.ports and _outcome(last.path) == _outcome(case.path):
            found[-1] = msgspec.structs.replace(last, ports=(last.ports[0], case.ports[1]))
        else:
            found.append(case)
    return found


def _outcome(path: Path) -> tuple[object, ...]:
    """Equal when the same policies and rules decide each step in the same way."""
    steps = tuple(
        (
            step.ok,
            "" if step.attempts else step.detail,
            tuple(
                (side.allowed, side.isolated_by, side.allowed_by)
                for attempt in step.attempts
                for side in (attempt.verdict.egress, attempt.verdict.ingress)
            ),
        )
        for step in path.steps
    )
    return path.allowed, path.undecided, path.failed, steps
