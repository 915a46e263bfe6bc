"""Numbers of enforcing as Prometheus reads them: every one has a help text, and docs/agent.md names it."""

from __future__ import annotations

from pathlib import Path

from stockade.agent.account import BUCKETS, Account, Histogram, families
from stockade.agent.faults import Fault, Work
from stockade.agent.metrics import Counters, ReflectorCounts, render

PAGE = Path(__file__).parents[2] / "docs" / "agent.md"


def text(account, faults=()):
    failures = {Work.PROGRAMMING: 3, Work.VERIFYING: 0}
    reflectors = [ReflectorCounts("pods", 1, 2, 3, 4)]
    return render(Counters(), reflectors, lambda: families(account, failures, list(faults))).decode()


def test_values():
    account = Account(pods=2, synced=True, repairs=4, last_success=12.5, world={"pods": 7})
    account.programmed(0.02, 0.3, full=True, bumped=True)
    account.programmed(0.004, 0.003, full=False, bumped=False)
    said = text(account)
    for line in (
        'stockade_transactions_total{kind="full"} 1.0',
        'stockade_transactions_total{kind="patch"} 1.0',
        "stockade_generation_bumps_total 1.0",
        'stockade_programming_failures_total{work="programming"} 3.0',
        "stockade_repairs_total 4.0",
        "stockade_programming_failing 0.0",
        "stockade_programming_last_success_timestamp_seconds 12.5",
        "stockade_programming_last_duration_seconds 0.004",
        'stockade_enforcement_latency_seconds_bucket{le="0.005"} 1.0',
        'stockade_enforcement_latency_seconds_bucket{le="0.5"} 2.0',
        'stockade_enforcement_latency_seconds_bucket{le="+Inf"} 2.0',
        "stockade_enforcement_latency_seconds_count 2.0",
        'stockade_world_objects{resource="pods"} 7.0',
        "stockade_synced 1.0",
    ):
        assert line in said.splitlines()
    failing = text(account, [Fault(Work.PROGRAMMING, "no", 1.0, 2, 0.5)])
    assert "stockade_programming_failing 1.0" in failing.splitlines()


def test_a_histogram_puts_each_value_below_its_bound():
    histogram = Histogram()
    for value in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, 1e6):
        histogram.observe(value)
    counted = dict(histogram.cumulated())
    assert counted[str(BUCKETS[0])] == 2
    assert counted[str(BUCKETS[1])] == 3
    assert counted[str(BUCKETS[-1])] == 3
    assert counted["+Inf"] == 4


def test_every_metric_has_its_help_and_stands_in_the_documentation():
    page = PAGE.read_text()
    found = list(families(Account(), dict.fromkeys(Work, 0), []))
    assert len(found) > 12
    for family in found:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert family.documentation
        assert f"`{name}`" in page, name
