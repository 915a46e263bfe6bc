"""Constant changes of the rules under a stream of packets: none that is denied gets through, none that is allowed is lost.

With a thousand changes: ``python -m stockade.testing.swaps``.
"""

from __future__ import annotations

from functools import partial

import pytest

from stockade.testing.driven import backend
from stockade.testing.spoiled import Spoiled
from stockade.testing.swaps import line, run

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

PACKETS, CHANGES = 150_000, 100


@pytest.mark.parametrize("name", ["netlink", "nft"])
def test_nothing_lost_and_nothing_leaked(name: str) -> None:
    """300 000 packets between the two."""
    result = run(PACKETS, CHANGES, programmer=partial(backend, name))
    print(line(result))  # noqa: T201 - the figures of the test
    assert (result.counts.lost, result.counts.leaked) == (0, 0)
    assert result.counts.sent >= PACKETS
    assert min(result.done.bumps, result.done.patches, result.done.restarts) > 0


@pytest.mark.parametrize("name", ["netlink", "nft"])
def test_a_failure_at_any_batch_opens_nothing(name: str) -> None:
    """Some batches are refused, and some applied without an answer."""
    result = run(30_000, 60, failures=0.1, programmer=partial(backend, name))
    print(line(result))  # noqa: T201 - the figures of the test
    assert result.counts.leaked == 0
    assert result.failures > 10
    if result.done.whole == 1:  # a table that is made anew drops what is on its way through the old one
        assert result.counts.lost == 0


def test_a_change_in_several_steps_is_seen() -> None:
    result = run(30_000, 30, programmer=lambda: Spoiled(backend("netlink"), "not-atomic"))
    assert result.counts.lost + result.counts.leaked > 0
