"""Deltas in random order lead from any state to any other."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from stockade.store.delta import apply
from stockade.store.state import ClusterState
from stockade.testing.driven import between
from stockade.testing.placing import random_worlds, steps


@pytest.mark.parametrize("number", range(5))
def test_between(number: int) -> None:
    random = Random(number)
    state = ClusterState()
    for world in islice(random_worlds(number), 6):
        for step in steps(world, random):
            state = apply(state, between(state, step, random))
            assert state == step
