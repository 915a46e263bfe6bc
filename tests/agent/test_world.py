"""What the programming loop takes from the World: the newest state, what led to it, and how long the oldest of that has waited."""

from __future__ import annotations

import pytest

from stockade.agent.world import World
from stockade.kube.resources import PODS
from stockade.model.meta import ObjectRef
from stockade.store.delta import Delete, Upsert
from stockade.testing.build import pod


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def world(clock):
    return World(lambda: clock[0])


def test_deltas_add_up_until_somebody_asks(world):
    world.upsert(PODS, pod("a"))
    world.take()
    world.delete(PODS, ObjectRef("default", "a"))
    world.upsert(PODS, pod("b"))
    state = world.take()
    assert set(state.pods) == {ObjectRef("default", "b")}
    assert [type(each) for each in world.deltas()] == [Upsert, Delete, Upsert]
    assert world.deltas() == []


def test_what_is_pending_is_not_told_before_it_is_taken(world):
    world.take()
    world.upsert(PODS, pod("a"))
    assert world.deltas() == []
    world.take()
    assert len(world.deltas()) == 1


def test_what_is_settled_is_not_kept(world):
    """A quiet cluster whose pods only heartbeat must not fill the memory."""
    for _ in range(100):
        world.upsert(PODS, pod("a"))
        world.take()
        world.settled()
    assert world.deltas() == []


def test_waiting_counts_from_the_oldest_event_until_settled(world, clock):
    world.upsert(PODS, pod("a"))
    clock[0] = 1.0
    world.upsert(PODS, pod("b"))
    world.take()
    clock[0] = 2.0
    world.upsert(PODS, pod("c"))  # while the rules are being written
    clock[0] = 5.0
    assert world.settled() == 5.0
    world.take()
    clock[0] = 6.0
    assert world.settled() == 4.0
    assert world.settled() == 0.0
