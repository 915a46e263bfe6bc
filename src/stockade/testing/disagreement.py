"""Where the engine and the reference differ, and the smallest world in which they still do.

In: a ClusterState and Flows. Out: the flows on which ``policy.evaluate`` and ``policy.reference`` disagree; a world from which every
object, rule, peer and port was taken that the disagreement does not need. Called by the property tests and the long run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from stockade.model.meta import View
from stockade.model.netpol import NetworkPolicy
from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import UnknownPodError, evaluate
from stockade.policy.verdict import Flow
from stockade.store.state import FIELDS, ClusterState
from stockade.testing.sampling import who

Json = Any


def disagreements(
    state: ClusterState, flows: Iterable[Flow], *, blocks_match_pods: bool = True
) -> Iterator[Flow]:
    """The flows that the two readings judge differently, in either direction or as a whole."""
    compiled = compile_state(state, blocks_match_pods=blocks_match_pods)
    for flow in flows:
        verdict = evaluate(compiled, flow, misses=False)
        asked = who(flow.source), who(flow.destination), flow.protocol, flow.port, flow.family
        egress = reference.egress_allowed(state, *asked, blocks_match_pods=blocks_match_pods)
        ingress = reference.ingress_allowed(state, *asked, blocks_match_pods=blocks_match_pods)
        decided = verdict.egress.allowed, verdict.ingress.allowed, verdict.allowed
        if decided != (egress, ingress, egress and ingress):
            yield flow


def still_differs(flow: Flow, *, blocks_match_pods: bool = True) -> Callable[[ClusterState], bool]:
    """For ``smallest``: a world without an end of the flow is no witness."""

    def differs(state: ClusterState) -> bool:
        try:
            return any(disagreements(state, [flow], blocks_match_pods=blocks_match_pods))
        except (UnknownPodError, KeyError):
            return False

    return differs


def smallest(state: ClusterState, differs: Callable[[ClusterState], bool]) -> ClusterState:
    """Takes one thing after the other away, as long as ``differs`` holds without it."""
    objects = list(_objects(state))
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in _smaller(objects):
            if differs(ClusterState.of(candidate)):
                objects, shrunk = candidate, True
                break
    return ClusterState.of(objects)


def written(state: ClusterState) -> str:
    """The world as JSON lines, one object each, for a report."""
    lines = [
        msgspec.json.encode({"kind": type(item).__name__, **msgspec.to_builtins(item)})
        for item in _objects(state)
    ]
    return "\n".join(line.decode() for line in lines)


def _objects(state: ClusterState) -> Iterator[View]:
    for field in FIELDS.values():
        yield from getattr(state, field).values()


def _smaller(objects: list[View]) -> Iterator[list[View]]:
    for at in range(len(objects)):
        yield objects[:at] + objects[at + 1 :]
    for at, item in enumerate(objects):
        if isinstance(item, NetworkPolicy):
            raw = msgspec.to_builtins(item)
            for spec in _without_one(raw.get("spec", {})):
                less = msgspec.convert({**raw, "spec": spec}, NetworkPolicy)
                yield [*objects[:at], less, *objects[at + 1 :]]


def _without_one(value: Json) -> Iterator[Json]:
    """``value`` with one field or list item less, anywhere inside."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            yield from ({**value, key: less} for less in _without_one(inner))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield value[:at] + value[at + 1 :]
            yield from ([*value[:at], less, *value[at + 1 :]] for less in _without_one(inner))
