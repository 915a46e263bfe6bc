"""The engine, the simulated rules and the kernel agree on random worlds; and each mistake in the rules is seen.

50 000 probes: ``python -m stockade.testing.witnesses``.
"""

from __future__ import annotations

import pytest

from stockade.dataplane import chains, fold
from stockade.testing.driven import backend
from stockade.testing.spoiled import Spoiled
from stockade.testing.witnesses import BACKENDS, run

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

PROBES = 2500
MISTAKES = [
    "egress-is-enough",
    "replies-pass",
    "no-fence",
    "without-sctp",
    "peers-of-one-family",
    "except-forgotten",
    "nobody-is-itself",
    "no-new-generation",
]


def test_engine_rules_and_kernel_agree() -> None:
    result = run(PROBES)
    assert not result.disagreements, result.disagreements[0]
    assert result.probes >= PROBES
    assert not result.never_met


def test_folded_rules_agree_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small worlds have small profiles: fold everything with more than one rule."""
    for module in (chains, fold):
        monkeypatch.setattr(module, "LIMIT", 1)
    result = run(PROBES, first=7)
    assert not result.disagreements, result.disagreements[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_rules_is_seen(mistake: str) -> None:
    result = run(PROBES, each=60, programmer=lambda name: Spoiled(backend(BACKENDS[name]), mistake))
    assert result.disagreements, f"{result.probes} probes did not see it"
    assert "simulate" in result.disagreements[0]
