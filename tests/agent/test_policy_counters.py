"""The kernel's counters as metrics: whose they are, how often they are read, what a failure looks like."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stockade.agent.policy_counters import PolicyCounters
from stockade.dataplane.ir import Counter, Ruleset
from stockade.dataplane.names import deny_counter, rule_counter
from stockade.dataplane.programmer import ProgrammingError
from stockade.model.meta import ObjectRef
from stockade.policy.compiled import Profile, RuleRef

POLICIES = tuple(ObjectRef("shop", name) for name in ("base", "web"))
RULES = tuple(RuleRef(POLICIES[1], "Ingress", index) for index in (0, 1))
PROFILE = Profile(id="0123456789ab", direction="Ingress", policies=POLICIES, rules=())
DENIED = deny_counter("i", PROFILE.id)
RULESET = Ruleset(
    sets={},
    identities={},
    maps={},
    chains={},
    counters={
        **{rule_counter(rule): Counter(rule_counter(rule), rule) for rule in RULES},
        "d_fence": Counter("d_fence"),
        DENIED: Counter(DENIED),
    },
    fenced=(),
    mark_mask=0xFF000000,
)
VALUES = {
    rule_counter(RULES[0]): (7, 420),
    rule_counter(RULES[1]): (0, 0),
    DENIED: (5, 300),
    "d_fence": (2, 120),
    "c_of_a_rule_that_is_gone": (99, 99),
}


class Kernel:
    def __init__(self):
        self.reads, self.values, self.now = 0, VALUES, 0.0

    async def read(self):
        await asyncio.sleep(0)
        self.reads += 1
        if isinstance(self.values, Exception):
            raise self.values
        return self.values


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def counters(kernel):
    return PolicyCounters(
        kernel.read, lambda: RULESET, lambda: {PROFILE.id: PROFILE, "x": other()}, lambda: kernel.now
    )


def other():
    return Profile(id="x", direction="Egress", policies=POLICIES, rules=())


async def text(counters):
    await counters.refresh()

    class Collected:
        def collect(self):
            return counters.families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry).decode()


async def test_each_counter_under_its_rule_and_its_policies(counters):
    lines = {line for line in (await text(counters)).splitlines() if line[0] != "#"}
    denied = 'direction="ingress",namespace="shop",policies="base,web",profile="0123456789ab"'
    assert lines == {
        'stockade_policy_allowed_connections_total{direction="ingress",namespace="shop",policy="web",rule="0"} 7.0',
        'stockade_policy_allowed_connections_total{direction="ingress",namespace="shop",policy="web",rule="1"} 0.0',
        f"stockade_policy_denied_packets_total{{{denied}}} 5.0",
        f"stockade_policy_denied_bytes_total{{{denied}}} 300.0",
        "stockade_fence_denied_packets_total 2.0",
        "stockade_counter_read_failures_total 0.0",
    }


async def test_the_kernel_is_asked_once_a_second_at_most(counters, kernel):
    await text(counters)
    kernel.now = 0.9
    await text(counters)
    assert kernel.reads == 1
    kernel.now = 1.1
    await text(counters)
    assert kernel.reads == 2
    kernel.now = 5.0
    await asyncio.gather(counters.refresh(), counters.refresh())
    assert kernel.reads == 3


@pytest.mark.parametrize("error", [OSError(1, "Operation not permitted"), ProgrammingError("nft: no")])
async def test_a_failure_is_counted_and_old_numbers_are_not_repeated(counters, kernel, error):
    await text(counters)
    kernel.now, kernel.values = 2.0, error
    shown = await text(counters)
    assert "stockade_counter_read_failures_total 1.0" in shown
    assert "policy=" not in shown


async def test_before_anything_is_programmed(kernel):
    shown = await text(PolicyCounters(kernel.read, lambda: None, dict, lambda: kernel.now))
    assert "stockade_policy" not in shown


async def test_a_pod_of_many_policies_makes_no_endless_label(kernel):
    refs = tuple(ObjectRef("shop", f"p{number:02}") for number in range(30))
    profile = Profile(id=PROFILE.id, direction="Ingress", policies=refs, rules=())
    counters = PolicyCounters(kernel.read, lambda: RULESET, lambda: {profile.id: profile}, lambda: kernel.now)
    assert 'p08,p09,and 20 more"' in await text(counters)
