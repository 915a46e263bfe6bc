"""What the agent says of itself to whoever asks (``GET /status``): enough to see at a glance whether enforcing works.

In: the agent's account and faults. Out: one value, JSON on the wire. Called by ``agent.node`` (makes it), ``agent.health`` (serves and
asks), ``cli.status`` (prints it).
"""

from __future__ import annotations

import msgspec


class Trouble(msgspec.Struct, frozen=True):
    """``since`` in seconds of the epoch; ``attempts`` that failed in a row."""

    work: str
    error: str
    since: float
    attempts: int


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``ready_problem`` is empty when the kernel holds the rules of the newest state. ``last_success`` 0: not yet."""

    node: str
    ready_problem: str = ""
    troubles: list[Trouble] = []
    pods: int = 0
    world: dict[str, int] = {}
    backend: str = ""
    watching: bool = False
    repairs: int = 0
    failures: int = 0
    last_success: float = 0.0
    last_seconds: float = 0.0


def lines(status: AgentStatus, now: float) -> dict[str, str]:
    """For people: label and text."""
    found = {"enforcing": f"{status.pods} pods, {status.world.get('networkpolicies', 0)} policies"}
    if status.ready_problem:
        found["enforcing"] = "not up to date: " + status.ready_problem
    if status.last_success:
        ago = max(0.0, now - status.last_success)
        found["programmed"] = f"{ago:.0f} s ago, in {status.last_seconds * 1000:.1f} ms, by {status.backend}"
    if status.repairs:
        found["repairs"] = f"{status.repairs} (somebody else changed the table)"
    if status.failures:
        found["failures"] = str(status.failures)
    return found
