"""Assertions about connections: what must be allowed, what must be denied, and whether it is.

In: an AssertionFile (``analysis.assertion_file`` reads it) and a World. Out: an Outcome for each assertion and each FROM, TO and
port it names. Called by ``stockade test``. Pure. The Structs are the file's format: docs/schemas/test.schema.json is made from
them.

"Denied" means by a policy: a connection that fails because the Service is missing or has no endpoints proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from stockade.analysis.ask import Answer, Question, ask_in
from stockade.analysis.path import World
from stockade.analysis.source import origins, parse_source
from stockade.analysis.steps import Path, Step
from stockade.analysis.target import TargetError
from stockade.model.meta import ObjectRef
from stockade.policy.evaluate import UnknownPodError

ALLOWED, DENIED, MIXED, UNDECIDED = "allowed", "denied", "mixed", "undecided"
PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")
Number = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Range = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$", examples=["8000-8100"])]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Names = Name | Annotated[list[Name], msgspec.Meta(min_length=1)]


class Assertion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Connections from each of ``from`` to each of ``to``, on each port, must all be ``expect``."""

    from_: Annotated[
        Names,
        msgspec.Meta(
            description="Who connects: pod/NAME, deploy/NAME, NS:KIND/NAME, node/NAME or an IP address."
        ),
    ] = msgspec.field(name="from")
    to: Annotated[
        Names,
        msgspec.Meta(description="What is connected to: pod/NAME, deploy/NAME, svc/NAME, HOST, IP or a URL."),
    ]
    expect: Literal["allowed", "denied"]
    name: Annotated[str, msgspec.Meta(description="For people.")] = ""
    port: Annotated[
        Number | Range | None, msgspec.Meta(description="A port, or a range that is judged as a whole.")
    ] = None
    ports: Annotated[list[Number | Range], msgspec.Meta(description="Several ports or ranges.")] = []
    protocol: Annotated[
        Literal["TCP", "UDP", "SCTP", "ICMP", "tcp", "udp", "sctp", "icmp"] | None,
        msgspec.Meta(description="TCP, unless to says otherwise (svc/dns:53/udp); in any case."),
    ] = None
    via: Annotated[
        str,
        msgspec.Meta(
            description="The policy (NAME or NS/NAME) that must be among those that allow, or deny, it."
        ),
    ] = ""

    @property
    def sources(self) -> list[str]:
        return [self.from_] if isinstance(self.from_, str) else self.from_

    @property
    def targets(self) -> list[str]:
        return [self.to] if isinstance(self.to, str) else self.to

    @property
    def all_ports(self) -> list[str]:
        """As text; one empty when none is named."""
        given = [*self.ports, *([] if self.port is None else [self.port])]
        return [str(port) for port in given] or [""]


class AssertionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assertions for ``stockade test``."""

    tests: Annotated[list[Assertion], msgspec.Meta(min_length=1)]
    namespace: Annotated[str, msgspec.Meta(description="Namespace of references without one.")] = ""
    manifests: Annotated[
        list[Name],
        msgspec.Meta(description="Files and directories to judge, relative to this file; -f wins over them."),
    ] = []
    hosts: Annotated[
        dict[str, Name], msgspec.Meta(description="Addresses of names outside the cluster.")
    ] = {}


def schema() -> dict[str, Any]:
    """The published JSON schema of an assertions file."""
    found = msgspec.json.schema(AssertionFile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stockade assertions",
        **found,
    }


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One connection that was asserted. ``why`` says what decided, or what is wrong; ``answer`` has all of it."""

    test: int
    name: str
    connection: str
    expected: str
    decided: str
    passed: bool
    why: str
    answer: Answer


class BadAssertion(msgspec.Struct, frozen=True):
    """An assertion that cannot be judged: ``path`` leads to the field that is at fault."""

    path: tuple[str | int, ...]
    message: str


def judge(
    world: World, file: AssertionFile, namespace: str, *, given: str = ""
) -> Iterator[Outcome | BadAssertion]:
    """In the order of the file. ``given``: the namespace for references without one that somebody named (-n wins over the
    file's). Where nobody did, ``namespace`` is for ``from``, and ``to`` is where the pod that connects is."""
    space = given or file.namespace
    for at, assertion in enumerate(file.tests):
        if assertion.via and not _exists(world, assertion.via):
            yield BadAssertion(("tests", at, "via"), _missing(assertion.via))
        for source in assertion.sources:
            for target in assertion.targets:
                for port in assertion.all_ports:
                    question = Question(
                        source=source,
                        target=target,
                        namespace=space or namespace,
                        target_namespace=space,
                        hosts=file.hosts,
                        port=port,
                        protocol=assertion.protocol or "",
                    )
                    yield _one(world, at, assertion, question)


def _one(world: World, at: int, assertion: Assertion, question: Question) -> Outcome | BadAssertion:
    field = "from"
    try:
        origins(world.compiled, parse_source(question.source, question.namespace))
        field = "to"
        answer = ask_in(world, question)
    except (TargetError, UnknownPodError) as error:
        return BadAssertion(("tests", at, field), str(error))
    decided = (
        UNDECIDED if answer.undecided else ALLOWED if answer.allowed else DENIED if answer.denied else MIXED
    )
    wrong = _wrong(answer, assertion, decided)
    return Outcome(
        test=at,
        name=assertion.name,
        connection=_connection(question),
        expected=assertion.expect,
        decided=decided,
        passed=not wrong,
        why=wrong or _summary(answer.deciding.path),
        answer=answer,
    )


def _connection(question: Question) -> str:
    port = f" {question.port}" if question.port else ""
    protocol = f" {question.protocol or 'TCP'}" if port or question.protocol else ""
    return f"{question.source} → {question.target}{protocol}{port}"


def _wrong(answer: Answer, assertion: Assertion, decided: str) -> str:
    """Empty when the assertion holds."""
    if decided != assertion.expect:
        wanted = assertion.expect == ALLOWED
        culprits = (
            case
            for case in answer.cases
            if (not case.path.allowed if wanted else case.path.possible or case.path.undecided)
        )
        case = next(culprits)
        ports = f" port {case.ports[0]}" if case.ports else ""
        return f"expected {assertion.expect}, is {decided}; {case.source}{ports}: {_summary(case.path)}"
    for case in answer.cases:
        policies = deciding_policies(case.path)
        if assertion.expect == DENIED and not policies:
            return f"fails, but no policy denies it; {case.source}: {case.path.cause}"
        if assertion.via and not _is_among(assertion.via, policies):
            listed = ", ".join(map(str, sorted(policies))) or "no policy"
            return f"{decided}, but not via {assertion.via}; {case.source}: by {listed}"
    return ""


def _exists(world: World, name: str) -> bool:
    return _is_among(name, world.state.policies)


def _missing(name: str) -> str:
    return f"no NetworkPolicy {name}" if "/" in name else f"no NetworkPolicy {name} in any namespace"


def _is_among(name: str, policies: Iterable[ObjectRef]) -> bool:
    return any(name in {str(policy), policy.name} for policy in policies)


def deciding_policies(path: Path) -> frozenset[ObjectRef]:
    """The policies whose rules allow the last step, or that isolate where the path stops."""
    step: Step = path.steps[-1 if path.failed is None else path.failed]
    found: set[ObjectRef] = set()
    for attempt in step.attempts:
        if path.allowed:
            sides = (attempt.verdict.egress, attempt.verdict.ingress)
            found.update(rule.policy for side in sides for rule in side.allowed_by)
        elif attempt.verdict.denied_by is not None:
            found.update(attempt.verdict.denied_by.isolated_by)
    return frozenset(found)


def _summary(path: Path) -> str:
    return path.cause or path.steps[-1].detail
