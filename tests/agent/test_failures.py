"""A programmer that fails at any call, in any way: the agent ends in the rules of a fresh start, and on the way there nothing opens."""

from __future__ import annotations

import itertools

import pytest

from stockade.agent.programmed import node_view
from stockade.dataplane.lower import Options, lower
from stockade.dataplane.operations import DeleteTable, MapElements
from stockade.kube.resources import NETWORK_POLICIES, PODS
from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.testing.clock import settle
from stockade.testing.failing import COMMIT, HOLDS, READ, FailingProgrammer, Failure, How
from stockade.testing.programmer import FakeProgrammer
from stockade.testing.programming import Setting

pytestmark = pytest.mark.usefixtures("one_thread")

A, B, C = "10.244.0.5", "10.244.0.6", "10.244.0.7"
DENY = {"podSelector": {}, "policyTypes": ["Egress"], "egress": []}
TO_B = {
    "podSelector": {},
    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}],
    "policyTypes": ["Egress"],
}


def history(setting):
    """What happens in the cluster, one thing after the other; the first is there at the start."""
    setting.pod("a", A)
    setting.policy("deny", DENY)
    yield
    setting.pod("b", B, app="b")
    yield
    setting.policy("to-b", TO_B)
    yield
    setting.pod("a", A, app="other")
    yield
    setting.world.delete(PODS, ObjectRef("default", "b"))
    setting.pod("c", C)
    yield
    setting.world.delete(NETWORK_POLICIES, ObjectRef("default", "to-b"))
    yield


def fresh(setting):
    state = setting.world.current
    return lower(compile_state(state), node_view(state, "node-1"), Options())


async def live_through(plan, *, keep=False):
    programmer = FailingProgrammer(FakeProgrammer(), *plan)

    async def forget(addresses):
        pass

    setting = Setting(programmer, keep=keep, forget=forget if keep else None)
    events = history(setting)
    next(events)
    async with setting:
        for _ in events:
            await setting.clock.pass_time(0.2)
            assert_nobody_is_told_too_early(setting)
        await setting.clock.pass_time(120)
        assert_nobody_is_told_too_early(setting)
        assert setting.plane.applied == fresh(setting)
        assert setting.faults.current == []
        assert setting.published[-1] == ["default/a", "default/c"]
    return setting


def assert_nobody_is_told_too_early(setting):
    """A pod that the gate lets start has an identity in the kernel."""
    mapped = set()
    for batch in setting.programmer.inner.batches:
        for operation in batch.operations:
            if isinstance(operation, MapElements) and operation.name == "id4":
                mapped |= operation.elements.keys()
    told = set(itertools.chain.from_iterable(setting.published))
    addresses = {"default/a": 0x0AF40005, "default/b": 0x0AF40006, "default/c": 0x0AF40007}
    assert {addresses[name] for name in told} <= mapped


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.INTERFERENCE, How.GARBAGE])
@pytest.mark.parametrize("nth", range(7))
@pytest.mark.parametrize("times", [1, 5])
async def test_a_commit_that_fails(how, nth, times, keep):
    setting = await live_through([Failure(COMMIT, how, nth, times)], keep=keep)
    assert setting.programmer.failed == times
    assert sum(setting.faults.failures.values()) > 0


@pytest.mark.parametrize("how", [How.BEFORE, How.GARBAGE, How.GARBLED])
@pytest.mark.parametrize("times", [1, 4])
async def test_a_reading_that_fails(how, times):
    setting = await live_through([Failure(READ, how, 0, times)])
    assert setting.programmer.failed >= 1
    if how is How.GARBLED:  # a table that cannot be read is replaced, in one batch
        assert any(isinstance(each, DeleteTable) for each in setting.programmer.inner.batches[0].operations)


async def test_commit_and_reading_fail_by_turns():
    plan = [Failure(COMMIT, How.AFTER, 1), Failure(READ, How.BEFORE, 1, 2), Failure(COMMIT, How.BEFORE, 2, 2)]
    setting = await live_through(plan)
    assert setting.programmer.failed == 5


async def test_in_the_kernel_there_is_never_a_batch_that_deletes_the_table_and_does_not_make_it():
    for nth, how in itertools.product(range(6), (How.BEFORE, How.AFTER)):
        setting = await live_through([Failure(COMMIT, how, nth, 3)])
        for batch in setting.programmer.inner.batches:
            kinds = [type(each).__name__ for each in batch.operations]
            if "DeleteTable" in kinds:
                assert "AddChain" in kinds[kinds.index("DeleteTable") :]


async def test_a_fault_that_lasts_is_one_event_with_the_newest_words():
    programmer = FailingProgrammer(FakeProgrammer())
    async with Setting(programmer) as setting:
        programmer.broken = How.BEFORE
        setting.pod("a", A)
        await setting.clock.pass_time(60)
        programmer.broken = How.INTERFERENCE
        await setting.clock.pass_time(120)
        assert len({each.key for each in setting.recorder.recorded}) == 1
        assert "changed meanwhile" in setting.recorder.recorded[-1].message
        assert setting.published[-1] == []
        programmer.broken = None
        await setting.clock.pass_time(31)
        await settle()
        assert setting.recorder.recorded[-1].type == "Normal"
        assert setting.published[-1] == ["default/a"]


async def test_a_lie_of_the_programmer_is_found_by_looking():
    """The commit said yes and did nothing."""
    programmer = FailingProgrammer(
        FakeProgrammer(), Failure(COMMIT, How.GARBLED, 1), Failure(HOLDS, How.GARBLED)
    )
    async with Setting(programmer) as setting:
        setting.pod("a", A)
        await settle()
        written = len(programmer.inner.batches)
        assert not await setting.plane.verify()
        assert len(programmer.inner.batches) == written + 1
