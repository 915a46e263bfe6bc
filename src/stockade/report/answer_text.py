"""An Answer, or a table of ports, as text and as JSON-ready data.

In: ``analysis.ask.Answer``, ``analysis.ports.PortMap``. Out: (style, text) lines as in ``path_text``, or plain data. Called by
``stockade check``, ``explain`` and ``test``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from stockade.analysis.ask import Answer, Case
from stockade.analysis.ports import EVERY_PORT, PortMap
from stockade.net.ranges import RangeSet
from stockade.report.path_text import (
    BAD,
    OK,
    PLAIN,
    WARN,
    Line,
    patch_text,
    path_data,
    path_lines,
    remedy_data,
    remedy_lines,
)


def verdict_lines(answer: Answer) -> Iterator[Line]:
    """What ``check`` says: one line when all agree, else who and which ports differ."""
    if answer.allowed:
        yield OK, "allowed"
    elif answer.undecided:
        yield WARN, f"undecided: {answer.deciding.path.cause}"
    elif len(answer.groups) == 1:
        yield BAD, f"denied: {answer.deciding.path.cause}"
    else:
        yield BAD, "denied" if answer.denied else f"denied in part: {_count(answer)}"
        for group in answer.groups:
            yield from _group(group)


def explain_lines(answer: Answer) -> Iterator[Line]:
    """What ``explain`` says: every distinct outcome once, for the first that has it."""
    if len(answer.groups) > 1:
        yield from verdict_lines(answer)
    for group in answer.groups:
        if len(answer.groups) > 1:
            yield PLAIN, ""
        first = group[0]
        if len(group) > 1 or first.ports:
            yield PLAIN, f"{'; '.join(_whom(group))}, judged by {first.source}{_port_text(first)}:"
        yield from path_lines(first.path)
    if answer.remedy is not None:
        yield from remedy_lines(answer.remedy)


def answer_patch(answer: Answer) -> str:
    """What ``explain -o patch`` says."""
    question = answer.question
    one = len({case.source for case in answer.cases}) == 1
    source = answer.cases[0].source if one else question.source
    return patch_text(f"{source} → {question.target}{_options(answer)}", answer.remedy)


def _options(answer: Answer) -> str:
    """What ``--port`` and ``--protocol`` have added to TO."""
    given = (answer.question.protocol.upper(), answer.question.port)
    return "".join(f" {part}" for part in given if part)


def answer_data(answer: Answer) -> dict[str, Any]:
    """The deciding path as a whole, and every case in short."""
    return {
        **path_data(answer.deciding.path),
        "source": answer.question.source if len(answer.cases) > 1 else str(answer.cases[0].path.query.source),
        "allowed": answer.allowed,
        "remedy": remedy_data(answer.remedy),
        "agree": answer.agree,
        **({"undecided": True} if answer.undecided else {}),
        "cases": [
            {
                "source": str(case.path.query.source),
                **({"ports": list(case.ports)} if case.ports else {}),
                "allowed": case.path.allowed,
                "cause": case.path.cause,
            }
            for case in answer.cases
        ],
    }


def _count(answer: Answer) -> str:
    sources = {case.source for case in answer.cases}
    failing = {case.source for case in answer.cases if not case.path.allowed}
    if len(sources) == 1:
        return "some ports are allowed, others are not"
    return f"from {len(failing)} of {len(sources)} pods of {answer.question.source}"


def _group(group: tuple[Case, ...]) -> Iterator[Line]:
    path = group[0].path
    for whom in _whom(group):
        yield (
            (OK if path.allowed else BAD),
            f"  {'allowed' if path.allowed else 'undecided' if path.undecided else 'denied '}  {whom}",
        )
    if not path.allowed:
        yield PLAIN, f"           {path.cause}"


def _whom(group: Iterable[Case]) -> Iterator[str]:
    """Each source with the ports of it that are in the group."""
    ports: dict[str, list[tuple[int, int]]] = {}
    protocols = {}
    for case in group:
        ports.setdefault(case.source, []).extend([case.ports] if case.ports else [])
        protocols[case.source] = case.path.query.aim.protocol if case.path.query.aim else ""
    for source, ranges in ports.items():
        yield f"{source} {protocols[source]} {ranges_text(RangeSet(ranges))}" if ranges else source


def _port_text(case: Case) -> str:
    return f" port {case.ports[0]}" if case.ports else ""


def ranges_text(ranges: RangeSet) -> str:
    """``80, 8000-8100``; ``none``; ``all``."""
    if ranges == EVERY_PORT:
        return "all"
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges) or "none"


def port_lines(maps: Iterable[PortMap]) -> Iterator[Line]:
    """What ``check --all-ports`` says; ends that have the same ports are listed together."""
    groups: dict[tuple[Any, ...], list[PortMap]] = {}
    for each in maps:
        groups.setdefault((tuple(each.ports.items()), each.icmp, each.note), []).append(each)
    for group in groups.values():
        for each in group:
            yield PLAIN, f"{each.source} → {each.destination}"
        first = group[0]
        for protocol, ranges in first.ports.items():
            yield (OK if ranges else BAD), f"  {protocol:<5} {ranges_text(ranges)}"
        if first.icmp is not None:
            yield (OK if first.icmp else BAD), f"  ICMP  {'allowed' if first.icmp else 'denied'}"
        if first.note:
            yield WARN, f"  Warning: {first.note}"


def port_data(maps: Iterable[PortMap]) -> list[dict[str, Any]]:
    """Ranges as [first, last] pairs."""
    return [
        {
            "source": each.source,
            "destination": each.destination,
            "ports": {protocol: [list(pair) for pair in ranges] for protocol, ranges in each.ports.items()},
            **({"icmp": each.icmp} if each.icmp is not None else {}),
            **({"note": each.note} if each.note else {}),
        }
        for each in maps
    ]
