"""What is remembered of what was programmed, and what the gate is told."""

from __future__ import annotations

import pytest

from stockade.agent.programmed import REMEMBERED_PROFILES, ProgrammedPods, Recent
from stockade.dataplane.live.shares import LocalPod
from stockade.net.cidr import parse_address
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

DENY = {"policyTypes": ["Egress"], "egress": []}


def state_of(numbers):
    """One pod with one policy of its own for each number: as many profiles."""
    pods = [pod(f"p{n}", {"n": str(n)}, f"10.1.{n // 250}.{n % 250 + 1}", on="node-1") for n in numbers]
    policies = [policy(f"d{n}", {"podSelector": {"matchLabels": {"n": str(n)}}, **DENY}) for n in numbers]
    return ClusterState.of([*pods, *policies])


def profiles_of(state):
    return {entry.egress.id: entry.egress for entry in compile_state(state).pods}


def test_profiles_in_force_are_never_forgotten_and_old_ones_only_after_many():
    recent, old, new = Recent(), state_of([0]), state_of(range(1, REMEMBERED_PROFILES + 100))
    for state in (old, new):
        with recent.upcoming(state, profiles_of(state)):
            pass
    assert profiles_of(new).keys() <= recent.profiles.keys()
    assert profiles_of(old).keys() <= recent.profiles.keys()
    assert recent.state is new


def test_a_state_that_was_not_programmed_is_not_the_one_in_force():
    recent, one, two = Recent(), state_of([1]), state_of([2])
    with recent.upcoming(one, profiles_of(one)):
        pass

    def fail():
        with recent.upcoming(two, None):
            assert recent.state is two
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        fail()
    assert recent.state is one


def test_the_gate_is_told_the_addresses_that_are_the_pods_own():
    made = pod("a", {}, "10.1.0.1", "fd00::1", on="node-1")
    pods = ProgrammedPods({made.ref: LocalPod(made, (parse_address("fd00::1"),))})
    assert pods[made.ref].addresses == ("fd00::1",)
    assert list(pods) == [made.ref]
    assert len(pods) == 1
    assert pods.get(pod("b").ref) is None
