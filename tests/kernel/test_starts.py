"""Pods start under default-deny while the agent is killed and started again: nothing of them gets out before the fence, nor after.

1000 pods: ``python -m stockade.testing.starts``.
"""

from __future__ import annotations

import pytest

from stockade.testing.starts import lines, run

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

PODS = 120


def test_no_packet_before_the_fence_and_none_after() -> None:
    totals = run(PODS, luck=1)
    print(*lines(totals), sep="\n")  # noqa: T201 - the figures of the test
    assert totals.counted.leaks == []
    assert totals.counted.missing == {}
    assert totals.pods == PODS
    assert totals.kills > 0
    assert min(totals.wild, totals.pods - totals.wild, totals.allowed) > PODS // 10
    assert min(totals.counted.denied, totals.counted.early, totals.counted.due) > 0


def test_without_a_fence_the_leak_is_seen() -> None:
    totals = run(15, luck=1, arguments=("--pod-cidr", "198.51.100.0/24"))
    assert totals.counted.leaks
