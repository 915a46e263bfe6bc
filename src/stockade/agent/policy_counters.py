"""What each policy let through and held back, counted by the kernel and read when somebody asks.

In: ``read``, the kernel's named counters (name -> packets and bytes), the Ruleset that says whose they are, and recent profiles.
Out: metric families. Called by ``agent.metrics`` for a scrape and by nobody else: never while rules are being written, at most once a
second however many ask.

An allowed connection counts once under the rule that let it begin (once more when a stricter policy has it judged again); rules
that were folded into one set have no counter. A denied packet has no guilty policy, so it counts under all that
isolate the pod: one series for each set of policies that some pod of this node has. Rules that never allowed anything stand at 0.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from stockade.dataplane.deny import FENCE_COUNTER
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.names import deny_counter
from stockade.dataplane.programmer import ProgrammingError
from stockade.policy.compiled import Profile, RuleRef

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

ReadCounters = Callable[[], Awaitable[Mapping[str, tuple[int, int]]]]
FRESH_SECONDS = 1.0
POLICIES_NAMED = 10  # in one label


class PolicyCounters:
    """At each scrape ``refresh``, then ``families``. ``ruleset`` and ``profiles`` are what is in force at that moment."""

    def __init__(
        self,
        read: ReadCounters,
        ruleset: Callable[[], Ruleset | None],
        profiles: Callable[[], Mapping[str, Profile]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self._read = read
        self._ruleset = ruleset
        self._profiles = profiles
        self._monotonic = monotonic
        self._values: Mapping[str, tuple[int, int]] = {}
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask the kernel, unless somebody did within a second. Nothing is kept of what was read before a failure: a number that stands
        still would look like silence."""
        async with self._asking:
            if self._monotonic() < self._until:
                return
            try:
                self._values = await self._read()
            except (OSError, ProgrammingError) as error:
                self._values = {}
                self.failures += 1
                log.warning("the kernel's counters cannot be read: %s", error)
            self._until = self._monotonic() + FRESH_SECONDS

    def families(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - only for who scrapes

        values, ruleset = self._values, self._ruleset()
        if ruleset is not None:
            yield _allowed(values, ruleset)
            yield from _denied(values, self._profiles())
        yield CounterMetricFamily(
            "stockade_counter_read_failures",
            "Times the kernel's counters could not be read",
            value=self.failures,
        )


def _allowed(values: Mapping[str, tuple[int, int]], ruleset: Ruleset) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(
        "stockade_policy_allowed_connections",
        "Connections that a policy's rule let begin",
        labels=["namespace", "policy", "direction", "rule"],
    )
    for name, counter in ruleset.counters.items():
        if name in values and counter.origin is not None:
            family.add_metric(_rule_labels(counter.origin), values[name][0])
    return family


def _denied(values: Mapping[str, tuple[int, int]], profiles: Mapping[str, Profile]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    labels = ["namespace", "policies", "direction", "profile"]
    packets = CounterMetricFamily(
        "stockade_policy_denied_packets", "Packets that no rule of these policies allowed", labels=labels
    )
    size = CounterMetricFamily("stockade_policy_denied_bytes", "Their size", labels=labels)
    for profile in profiles.values():
        found = values.get(deny_counter(profile.direction[0].lower(), profile.id))
        if found is not None:
            packets.add_metric(_profile_labels(profile), found[0])
            size.add_metric(_profile_labels(profile), found[1])
    yield packets
    yield size
    yield CounterMetricFamily(
        "stockade_fence_denied_packets",
        "Packets from or to pods whose policies were not programmed yet",
        value=values.get(FENCE_COUNTER, (0, 0))[0],
    )


def _rule_labels(rule: RuleRef) -> list[str]:
    return [rule.policy.namespace, rule.policy.name, rule.direction.lower(), str(rule.index)]


def _profile_labels(profile: Profile) -> list[str]:
    """NetworkPolicies that isolate one pod are all of its namespace."""
    names = [ref.name for ref in profile.policies]
    more = f",and {len(names) - POLICIES_NAMED} more" if len(names) > POLICIES_NAMED else ""
    namespace = profile.policies[0].namespace if profile.policies else ""
    return [namespace, ",".join(names[:POLICIES_NAMED]) + more, profile.direction.lower(), profile.id]
