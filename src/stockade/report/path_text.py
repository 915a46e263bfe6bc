"""A Path as text for people: steps in order, the cause, what the application prints, warnings.

In: ``analysis.path.Path``. Out: lines without colour codes, and the style of each, so that the CLI may colour them on a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.analysis.path import Path, Step
from stockade.policy.explain import DirectionProof, Proof

Line = tuple[str, str]  # (style, text); the style is a rich style or ""
OK, BAD, DIM, WARN, PLAIN = "green", "bold red", "dim", "yellow", ""


def path_lines(path: Path) -> Iterator[Line]:
    """Everything ``explain`` says."""
    verdict = "partly allowed" if path.mixed else ("allowed" if path.allowed else "denied")
    yield (OK if path.allowed else BAD, f"{path.source} → {path.target}: {verdict.upper()}")
    yield PLAIN, ""
    failed = False
    for number, step in enumerate(path.steps, 1):
        yield from _step(number, step, after_failure=failed)
        failed = failed or step.allowed is False
    yield from _ending(path)


def _step(number: int, step: Step, *, after_failure: bool) -> Iterator[Line]:
    result = {True: "allowed", False: "denied", None: ""}[step.allowed]
    if after_failure and step.allowed is not None:
        result = f"would be {result} too" if step.allowed is False else f"would be {result}"
    style = BAD if step.allowed is False and not after_failure else PLAIN
    yield style, f"{number}. {step.title}{f': {result}' if result else ''}"
    if step.note:
        yield DIM, f"   {step.note}"
    for proof in step.proofs:
        yield from _proof(proof, several=len(step.proofs) > 1)


def _proof(proof: Proof, *, several: bool) -> Iterator[Line]:
    if several:
        yield PLAIN, f"   {proof.flow}: {'allowed' if proof.allowed else 'denied'}"
    for direction in (proof.egress, proof.ingress):
        if direction.subject is not None:
            yield from _direction(direction)


def _direction(direction: DirectionProof) -> Iterator[Line]:
    mark = "✓" if direction.allowed else "✗"
    yield (DIM if direction.allowed else PLAIN), f"   {mark} {direction.sentence}"
    for near in direction.nearest[1:]:
        yield DIM, f"       also missed {near.rule}: {near.detail}"


def _ending(path: Path) -> Iterator[Line]:
    if path.cause:
        yield PLAIN, ""
        yield BAD, f"Cause: {path.cause}"
    for symptom in path.symptoms:
        yield PLAIN, f"{symptom.client} prints:"
        for line in symptom.lines:
            yield PLAIN, f"    {line}"
    for warning in path.warnings:
        yield PLAIN, ""
        yield WARN, f"Warning: {warning}"
