"""A Path as text and as JSON-ready data for people and programs.

In: ``analysis.steps.Path``. Out: lines without colour codes, each with its style so that the CLI may colour them on a terminal; or
plain data. Called by ``stockade explain`` and ``stockade check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stockade.analysis.remedy.values import Remedy, manifest
from stockade.analysis.source import origin_of
from stockade.analysis.steps import Attempt, Path, Step
from stockade.policy.explain import DirectionProof, Proof, explain, flow_text
from stockade.report.manifest_text import documents
from stockade.report.terminal import visible

Line = tuple[str, str]  # (style, text)
OK, BAD, DIM, WARN, PLAIN = "ok", "bad", "dim", "warn", "plain"


def path_lines(path: Path) -> Iterator[Line]:
    """Everything ``explain`` says."""
    yield (
        (OK if path.allowed else BAD),
        f"{headline(path)}: {'ALLOWED' if path.allowed else 'UNDECIDED' if path.undecided else 'DENIED'}",
    )
    yield PLAIN, ""
    for number, step in enumerate(path.steps):
        yield from _step(number, step, path.failed)
    yield from _ending(path)


def headline(path: Path) -> str:
    return f"{origin_of(path.query)} → {path.query.target}"


def _step(number: int, step: Step, failed: int | None) -> Iterator[Line]:
    first = number == failed
    later = failed is not None and number > failed
    result = ("ok" if step.ok else "fails") if not later else ("would be ok" if step.ok else "would fail too")
    result = "undecided" if step.undecided else result
    yield (BAD if first else PLAIN), f"{number + 1}. {step.title}: {result}"
    if not step.attempts:
        yield PLAIN, f"   {step.detail}"
    if step.trouble and step.attempts:
        yield PLAIN, f"   {step.detail}"
    several = _several_families(step)
    for attempt in step.attempts:
        yield from _attempt(attempt, f" by IPv{attempt.flow.family}" if several else "")


def _several_families(step: Step) -> bool:
    return len({attempt.flow.family for attempt in step.attempts}) > 1


def _attempt(attempt: Attempt, how: str) -> Iterator[Line]:
    proof = explain(attempt.verdict)
    yield PLAIN, f"   {proof.flow}{how}: {'allowed' if proof.allowed else 'denied'}"
    for direction in (proof.egress, proof.ingress):
        if direction.subject is not None:
            yield from _direction(direction)


def _direction(direction: DirectionProof) -> Iterator[Line]:
    yield (
        (DIM if direction.allowed else PLAIN),
        f"     {'✓' if direction.allowed else '✗'} {direction.sentence}",
    )
    for near in direction.nearest[1:]:
        yield DIM, f"         {near.rule} missed too: {near.detail}"


def _ending(path: Path) -> Iterator[Line]:
    yield PLAIN, ""
    if not path.allowed:
        yield BAD, f"Cause: {path.cause}"
    if path.symptom:
        yield PLAIN, "The application prints:"
        for line in path.symptom:
            yield PLAIN, f"    {line}"
    for client, text in path.elsewhere:
        yield DIM, f"    {text if client == 'curl' else f'{client}: {text}'}"
    for warning in path.warnings:
        yield WARN, f"Warning: {warning}"
    if path.remedy is not None:
        yield from remedy_lines(path.remedy)


def remedy_lines(remedy: Remedy) -> Iterator[Line]:
    """Without indentation, so that it can be copied as it stands."""
    yield PLAIN, ""
    if not remedy.policies:
        yield PLAIN, "No policy change is proposed:"
    elif remedy.complete:
        yield PLAIN, "Smallest change that allows it:"
    else:
        yield PLAIN, "Smallest change towards it (not enough by itself, see the notes):"
    for line in documents(manifest(policy) for policy in remedy.policies).splitlines():
        yield OK, line
    for note in remedy.notes:
        yield WARN, f"Note: {note}"
    if remedy.policies:
        yield DIM, "To apply it, add `-o patch | kubectl apply -f -` to this command."


def patch_text(what: str, remedy: Remedy | None) -> str:
    """What ``kubectl apply -f -`` takes: the new policies, with the notes as comments; empty when there is nothing to apply.
    ``what`` is the connection, for people."""
    if remedy is None or not remedy.policies:
        return ""
    aim = "Allows" if remedy.complete else "Not enough by itself to allow"
    said = (f"{aim} {what}", *(f"Note: {note}" for note in remedy.notes))
    comments = "".join(f"# {visible(line)}\n" for line in said)  # never a second line: it would be YAML
    return comments + documents(manifest(policy) for policy in remedy.policies)


def path_data(path: Path) -> dict[str, Any]:
    """For ``-o json``: verdicts as proofs, references as ``namespace/name``."""
    return {
        "source": str(path.query.source),
        "target": path.query.target,
        "allowed": path.allowed,
        "cause": path.cause,
        "symptom": list(path.symptom),
        "elsewhere": dict(path.elsewhere),
        "warnings": list(path.warnings),
        "remedy": remedy_data(path.remedy),
        "steps": [
            {
                "kind": step.kind,
                "title": step.title,
                "ok": step.ok,
                "detail": step.detail,
                **({"questions": list(step.questions)} if step.questions else {}),
                "attempts": [
                    {
                        **_proof_data(explain(attempt.verdict)),
                        **({"family": attempt.flow.family} if _several_families(step) else {}),
                    }
                    for attempt in step.attempts
                ],
            }
            for step in path.steps
        ],
    }


def remedy_data(remedy: Remedy | None) -> dict[str, Any] | None:
    if remedy is None:
        return None
    return {
        "complete": remedy.complete,
        "manifests": [manifest(policy) for policy in remedy.policies],
        "also": [flow_text(flow) for flow in remedy.also],
        "notes": list(remedy.notes),
    }


def _proof_data(proof: Proof) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(proof)
    return data
