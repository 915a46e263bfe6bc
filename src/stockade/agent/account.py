"""The agent's account of enforcing, and how Prometheus reads it.

In: plain numbers that ``agent.programming`` and ``agent.guard`` write down as they work (no library in their way). Out: metric families.
Called by ``agent.metrics``, which puts them beside those of the drop log and the reflectors. Names and units as Prometheus wants them:
base units, ``_total`` for what only grows. docs/agent.md lists every one of them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from stockade.agent.faults import Fault, Work

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
FULL, PATCH = "full", "patch"


class Histogram(msgspec.Struct):
    """``counts`` of values up to each of BUCKETS (not cumulated), the last for those beyond."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, value)] += 1
        self.total += value

    def cumulated(self) -> Iterator[tuple[str, float]]:
        """As Prometheus wants it: (upper bound, how many up to it)."""
        so_far = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            yield bound, so_far


class Account(msgspec.Struct):
    """Since the agent's start. ``latency``: from an API event until what it changes is in force, of the oldest event of each transaction."""

    transactions: dict[str, int] = msgspec.field(default_factory=lambda: {FULL: 0, PATCH: 0})
    bumps: int = 0
    seconds: Histogram = msgspec.field(default_factory=Histogram)
    latency: Histogram = msgspec.field(default_factory=Histogram)
    last_seconds: float = 0.0
    last_success: float = 0.0  # seconds of the epoch; 0: not yet
    verified: int = 0
    repairs: int = 0
    foreign_changes: int = 0
    watching: bool = False  # the kernel tells us of changes; else only the timer looks
    pods: int = 0
    world: dict[str, int] = msgspec.field(default_factory=dict)  # objects of the state in force, by resource
    synced: bool = False

    def programmed(self, took: float, latency: float, *, full: bool, bumped: bool) -> None:
        """One change of the kernel's rules has succeeded."""
        self.transactions[FULL if full else PATCH] += 1
        self.bumps += bumped
        self.seconds.observe(took)
        self.latency.observe(latency)
        self.last_seconds = took


def families(account: Account, failures: Mapping[Work, int], faults: list[Fault]) -> Iterator[Metric]:
    yield from _counters(account, failures)
    yield from _gauges(account, faults)
    yield from _histograms(account)


def _counters(account: Account, failures: Mapping[Work, int]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - 40 ms nobody else needs

    labelled = (
        (
            "stockade_transactions",
            "Changes of the kernel's rules: the table made anew (full) or changed in place (patch)",
            "kind",
            account.transactions,
        ),
        (
            "stockade_programming_failures",
            "Attempts to change the kernel's rules (programming) or to read them back (verifying) that failed",
            "work",
            {work.name.lower(): number for work, number in failures.items()},
        ),
    )
    for name, text, label, numbers in labelled:
        family = CounterMetricFamily(name, text, labels=[label])
        for key, number in numbers.items():
            family.add_metric([key], number)
        yield family
    for name, text, number in (
        (
            "stockade_generation_bumps",
            "Stricter changes: connections known so far are judged again",
            account.bumps,
        ),
        ("stockade_verifications", "Times the kernel's rules were read back", account.verified),
        (
            "stockade_repairs",
            "Times somebody else had changed the table and it was repaired",
            account.repairs,
        ),
        (
            "stockade_foreign_changes",
            "Changes of the table by others, as told by the kernel",
            account.foreign_changes,
        ),
    ):
        yield CounterMetricFamily(name, text, value=number)


def _gauges(account: Account, faults: list[Fault]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    for name, text, level in (
        (
            "stockade_programming_failing",
            "1 while the last attempt to program or verify failed",
            int(bool(faults)),
        ),
        (
            "stockade_programming_last_success_timestamp_seconds",
            "When the kernel's rules were last brought to, or found at, the newest state; 0 before the first time",
            account.last_success,
        ),
        (
            "stockade_programming_last_duration_seconds",
            "How long the last change took: compile, compare, program",
            account.last_seconds,
        ),
        ("stockade_table_watched", "1 while the kernel tells of changes by others", int(account.watching)),
        ("stockade_pods", "Pods of this node whose rules the kernel holds", account.pods),
        ("stockade_synced", "1 when every resource that rules need has been listed", int(account.synced)),
    ):
        yield GaugeMetricFamily(name, text, value=level)
    world = GaugeMetricFamily(
        "stockade_world_objects", "Objects of the programmed state", labels=["resource"]
    )
    for resource, number in account.world.items():
        world.add_metric([resource], number)
    yield world


def _histograms(account: Account) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    for name, text, histogram in (
        (
            "stockade_enforcement_latency_seconds",
            "From an event of the Kubernetes API until the rules it changes are in force; the oldest event of each change",
            account.latency,
        ),
        (
            "stockade_programming_duration_seconds",
            "How long changes took: compile, compare, program",
            account.seconds,
        ),
    ):
        yield HistogramMetricFamily(
            name, text, buckets=list(histogram.cumulated()), sum_value=histogram.total
        )
