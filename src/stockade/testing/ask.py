"""Ask the engine in one line: ``allowed(objects, "x/a", "y/b", "TCP 80")``.

In: objects or a ClusterState, two ends as text (``namespace/pod``, ``pod`` in default, or an address), a port as text.
Out: a verdict, or a yes-or-no that the reference has confirmed: every question put through ``allowed`` is also asked of
``policy.reference``, so each test of a rule is a test of both readings.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.model.meta import ObjectRef, View
from stockade.net.cidr import parse_address
from stockade.policy import reference
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import AddressEndpoint, Endpoint, Flow, PodEndpoint, Verdict
from stockade.store.state import ClusterState

World = ClusterState | Iterable[View]


def end(text: str) -> Endpoint:
    """An address, ``namespace/pod``, or ``pod`` in namespace default."""
    try:
        return AddressEndpoint(*parse_address(text), text)
    except ValueError:
        space, _, name = text.rpartition("/")
        return PodEndpoint(ObjectRef(space or "default", name))


def flow(source: str, destination: str, port: str = "TCP 80", family: int | None = None) -> Flow:
    """``port`` is ``TCP 80``, ``UDP 53`` or ``ICMP``; the family is that of an address, else IPv4."""
    ends = end(source), end(destination)
    protocol, _, number = port.partition(" ")
    given = [each.family for each in ends if isinstance(each, AddressEndpoint)]
    own = family or (given[0] if given else 4)
    return Flow(ends[0], ends[1], protocol, int(number) if number else None, own)


def verdict(
    world: World, source: str, destination: str, port: str = "TCP 80", family: int | None = None
) -> Verdict:
    return evaluate(compile_state(state_of(world)), flow(source, destination, port, family))


def allowed(
    world: World, source: str, destination: str, port: str = "TCP 80", family: int | None = None
) -> bool:
    """AssertionError when the two readings of the specification disagree."""
    state = state_of(world)
    asked = flow(source, destination, port, family)
    decided = verdict(state, source, destination, port, family)
    question = _who(asked.source), _who(asked.destination), asked.protocol, asked.port, asked.family
    assert decided.allowed == reference.allowed(state, *question), f"engine and reference differ on {asked}"
    return decided.allowed


def state_of(world: World) -> ClusterState:
    return world if isinstance(world, ClusterState) else ClusterState.of(world)


def _who(one: Endpoint) -> ObjectRef | str:
    return one.ref if isinstance(one, PodEndpoint) else one.text
