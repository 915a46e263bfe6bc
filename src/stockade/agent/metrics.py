"""What the agent counts, and how Prometheus reads it.

In: plain numbers that ``agent.node`` and ``agent.drops`` count up as they work (no library in their way). Out: the text of ``/metrics``.
Called by ``agent.health``, which is the only one to import prometheus-client, and only when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Counters(msgspec.Struct):
    """Counted since the agent's start."""

    programmed: int = 0
    program_failures: int = 0
    program_seconds: float = 0.0
    last_program_seconds: float = 0.0
    repairs: int = 0
    drops: Counter[str] = msgspec.field(default_factory=Counter)  # by direction: egress, ingress, fence
    drops_unattributed: int = 0
    log_overruns: int = 0
    log_lost: int = 0  # logged packets that were never read
    pods: int = 0
    synced: bool = False
    failing: str = ""  # why the rules in the kernel are older than the state; empty when they are not


class Health(msgspec.Struct, frozen=True):
    """Each text is empty when all is well. A live problem means: restart me; the agent knows of none that a restart would cure."""

    live_problem: str = ""
    ready_problem: str = ""


class ReflectorCounts(msgspec.Struct, frozen=True):
    """One reflector's own statistics."""

    resource: str
    lists: int
    watches: int
    events: int
    errors: int


def render(
    counters: Counters,
    reflectors: Iterable[ReflectorCounts],
    *others: Callable[[], Iterable[Metric]],
) -> bytes:
    """Prometheus' text format. ``others``: families from elsewhere."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - 40 ms nobody else needs

    class Collected:
        def collect(self) -> Iterator[Metric]:
            yield from _families(counters, list(reflectors))
            for each in others:
                yield from each()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry)


def _families(counters: Counters, reflectors: list[ReflectorCounts]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    for name, text, number in (
        ("stockade_programmed", "Transactions that changed the kernel's rules", counters.programmed),
        ("stockade_program_failures", "Attempts to change the rules that failed", counters.program_failures),
        ("stockade_program_seconds", "Time spent compiling and programming", counters.program_seconds),
        ("stockade_repairs", "Times the kernel's rules were not as left and were repaired", counters.repairs),
        (
            "stockade_drops_unattributed",
            "Logged drops that concern no known pod",
            counters.drops_unattributed,
        ),
        (
            "stockade_drop_log_overruns",
            "Times the kernel's log was faster than its reader",
            counters.log_overruns,
        ),
        ("stockade_drop_log_lost", "Logged packets that were not read in time", counters.log_lost),
    ):
        yield CounterMetricFamily(name, text, value=number)
    drops = CounterMetricFamily("stockade_drops", "Logged denied packets", labels=["direction"])
    for direction, number in counters.drops.items():
        drops.add_metric([direction], number)
    yield drops
    for name, text, level in (
        ("stockade_pods", "Pods of this node whose rules the kernel holds", counters.pods),
        ("stockade_synced", "1 when every resource has been listed", int(counters.synced)),
        (
            "stockade_stale",
            "1 while the kernel's rules are older than the state",
            int(bool(counters.failing)),
        ),
        ("stockade_last_program_seconds", "The last change's time", counters.last_program_seconds),
    ):
        yield GaugeMetricFamily(name, text, value=level)
    for field in ("lists", "watches", "events", "errors"):
        family = CounterMetricFamily(f"stockade_reflector_{field}", f"Reflector {field}", labels=["resource"])
        for each in reflectors:
            family.add_metric([each.resource], getattr(each, field))
        yield family
