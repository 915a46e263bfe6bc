"""What a conformance case is: steps, each some changes of the cluster and what must connect afterwards.

Made by ``e2e`` and ``cyclonus``; read by the driver (real pods) and by ``tests/suites`` (the engine alone). An action is the name of a
method that ``world.World`` and ``cluster.Cluster`` both have, and its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

Json = dict[str, Any]
Name = tuple[str, str]  # namespace, name
Action = tuple[Any, ...]
Denied = Callable[[str, str], bool]
"""Of a source and a destination, as ``namespace/name``."""

PROTOCOLS = ("TCP", "UDP", "SCTP")
PROBES = [(protocol, port) for port in (80, 81) for protocol in PROTOCOLS]


def port_name(protocol: str, port: int) -> str:
    return f"serve-{port}-{protocol.lower()}"


class Step(msgspec.Struct, frozen=True):
    """``denied``: for ``TCP 80`` and the like, the pairs that must not connect, as the upstream test asserts them (others it does not
    ask); None: every probe is expected as the suite's own model (``truth``) says."""

    actions: list[Action]
    denied: Mapping[str, Denied] | None = None


class Case(msgspec.Struct, frozen=True):
    suite: str
    number: int
    group: str
    title: str
    steps: list[Step]

    @property
    def name(self) -> str:
        return f"{self.suite} {self.number}: {self.group}{': ' if self.group else ''}{self.title}"


class Actor(Protocol):
    """Whoever carries actions out at once, in memory."""

    def create_policy(self, policy: Json) -> None: ...


def act(actor: Actor, action: Action) -> None:
    getattr(actor, action[0])(*action[1:])


def label(key: str, value: str) -> Json:
    return {"matchLabels": {key: value}}


def among(key: str, *values: str, operator: str = "In") -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
