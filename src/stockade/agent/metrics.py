"""What the agent counts besides enforcing (``agent.account``), and how Prometheus reads all of it.

In: plain numbers that ``agent.drops`` counts up as it works (no library in its way), families of the rest. Out: the text of ``/metrics``.
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

    drops: Counter[str] = msgspec.field(default_factory=Counter)  # by direction: egress, ingress, fence
    drops_unattributed: int = 0
    log_overruns: int = 0
    log_lost: int = 0  # logged packets that were never read


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
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    for name, text, number in (
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
    for field in ("lists", "watches", "events", "errors"):
        family = CounterMetricFamily(f"stockade_reflector_{field}", f"Reflector {field}", labels=["resource"])
        for each in reflectors:
            family.add_metric([each.resource], getattr(each, field))
        yield family
