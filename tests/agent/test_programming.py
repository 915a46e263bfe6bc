"""The programming loop by itself, under a clock that only moves when the loop waits."""

from __future__ import annotations

import itertools

import pytest

from stockade.agent.faults import Work
from stockade.agent.programmed import node_view
from stockade.agent.programming import AT_ONCE
from stockade.dataplane import plane
from stockade.dataplane.lower import Options, lower
from stockade.kube.resources import NETWORK_POLICIES, PODS, SERVICES
from stockade.model.meta import ObjectMeta, ObjectRef
from stockade.model.objects import Service
from stockade.net.cidr import parse_address
from stockade.policy.compile import compile_state
from stockade.testing.build import pod
from stockade.testing.clock import settle
from stockade.testing.failing import COMMIT, READ, FailingProgrammer, Failure, How
from stockade.testing.programmer import FakeProgrammer
from stockade.testing.programming import Setting, with_uid

A, B = "10.244.0.5", "10.244.0.6"
DENY = {"podSelector": {}, "policyTypes": ["Egress"], "egress": []}
TO_B = {
    "podSelector": {},
    "policyTypes": ["Egress"],
    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}],
}


pytestmark = pytest.mark.usefixtures("one_thread")


async def test_attempts_that_fail_come_at_doubling_intervals(monkeypatch):
    async with Setting(programmer := FailingProgrammer(FakeProgrammer())) as setting:
        moments, failed = [], setting.faults.failed
        note = lambda *args: moments.append(setting.clock.now) or failed(*args)  # noqa: E731
        monkeypatch.setattr(setting.faults, "failed", note)
        programmer.broken = How.BEFORE
        setting.pod("a", A)
        await setting.clock.pass_time(100)
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert gaps == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])


async def test_a_failure_is_seen_after_the_first_attempt_and_recovery_is_told():
    async with Setting(programmer := FailingProgrammer(FakeProgrammer())) as setting:
        programmer.broken = How.BEFORE
        setting.pod("a", A)
        await settle()
        (fault,) = setting.faults.current
        assert fault.attempts == 1
        assert setting.clock.now == 0.0
        assert setting.published[-1] == []
        programmer.broken = None
        await setting.clock.pass_time(0.6)
        assert setting.faults.current == []
        assert setting.published[-1] == ["default/a"]
        assert [each.type for each in setting.recorder.recorded] == ["Warning", "Normal"]


async def test_a_change_of_the_world_is_tried_at_once_but_not_in_a_hot_loop():
    async with Setting(programmer := FailingProgrammer(FakeProgrammer())) as setting:
        programmer.broken = How.BEFORE
        setting.pod("a", A)
        await settle()
        await setting.clock.pass_time(20)  # the next attempt by itself is far away
        before = setting.faults.failures[Work.PROGRAMMING]
        setting.pod("b", B)
        await settle()
        assert setting.faults.failures[Work.PROGRAMMING] == before + 1
        for number in range(100):
            setting.pod(f"p{number}", f"10.244.0.{100 + number}")
            await setting.clock.pass_time(0.01)
        tried = setting.faults.failures[Work.PROGRAMMING] - before - 1
        assert 1.0 / AT_ONCE - 3 <= tried <= 1.0 / AT_ONCE + 1
        setting.world.upsert(SERVICES, Service(metadata=ObjectMeta(name="s", namespace="default")))
        before = setting.faults.failures[Work.PROGRAMMING]
        await setting.clock.pass_time(1.0)
        assert (
            setting.faults.failures[Work.PROGRAMMING] <= before + 1
        )  # the last pod's; a Service changes no rule


async def test_the_state_before_a_failed_one_is_programmed_again_when_it_comes_back():
    """A refused change may have been half of two transactions: nobody knows."""
    async with Setting(programmer := FailingProgrammer(FakeProgrammer())) as setting:
        setting.pod("a", A)
        await settle()
        before = setting.programming.programmed
        programmer.broken = How.AFTER
        setting.policy("deny", DENY)
        await settle()
        assert setting.plane.applied is None
        setting.world.delete(NETWORK_POLICIES, ObjectRef("default", "deny"))
        programmer.broken = None
        await setting.clock.pass_time(1.0)
        assert setting.plane.applied is not None
        assert setting.faults.current == []
        assert setting.programming.programmed.policies == before.policies


async def test_again_programs_a_state_that_did_not_change():
    async with Setting(FakeProgrammer()) as setting:
        setting.plane._applied = None
        setting.programming.again()
        await settle()
        assert setting.plane.applied is not None


async def test_latency_counts_from_the_oldest_event_also_across_failures():
    async with Setting(programmer := FailingProgrammer(FakeProgrammer())) as setting:
        counted = sum(setting.account.latency.counts)
        programmer.broken = How.BEFORE
        setting.pod("a", A)
        await setting.clock.pass_time(2.0)
        programmer.broken = None
        await setting.clock.pass_time(5.0)
        assert sum(setting.account.latency.counts) == counted + 1
        assert 2.0 < setting.account.latency.total < 7.0
        await setting.clock.pass_time(50.0)
        setting.pod("b", B)
        await settle()
        assert setting.account.latency.total < 7.0


async def test_a_smaller_change_that_is_refused_counts_even_if_the_next_way_works():
    async with Setting(FailingProgrammer(FakeProgrammer(), Failure(COMMIT, nth=1))) as setting:
        setting.pod("a", A)
        await settle()
        assert setting.faults.failures[Work.PROGRAMMING] == 1
        assert setting.faults.current == []
        assert setting.published[-1] == ["default/a"]


@pytest.mark.parametrize("how", [How.BEFORE, How.GARBAGE])
async def test_a_table_that_cannot_be_read_is_a_failure_too(how):
    async with Setting(FailingProgrammer(FakeProgrammer(), Failure(READ, how, times=3))) as setting:
        assert setting.published == []
        assert setting.faults.current
        await setting.clock.pass_time(10)
        assert setting.published == [[]]
        assert setting.faults.current == []


# -- live flows are kept


class Forgetting:
    """What was forgotten, and who was programmed at that moment."""

    def __init__(self):
        self.told, self.fail = [], False
        self.batches = list

    async def __call__(self, addresses):
        if self.fail:
            raise OSError("no")
        self.told.append((sorted(addresses), len(self.batches())))


@pytest.fixture
def forgetting():
    return Forgetting()


async def keeping(forgetting):
    programmer = FakeProgrammer()
    forgetting.batches = lambda: programmer.batches
    setting = Setting(programmer, keep=True, forget=forgetting)
    setting.pod("a", A)
    setting.policy("to-b", TO_B)
    return setting


async def test_connections_of_a_pod_that_is_gone_are_forgotten_after_its_address_is_fenced(forgetting):
    async with await keeping(forgetting) as setting:
        before = len(setting.programmer.batches)
        assert forgetting.told == []
        setting.world.delete(PODS, ObjectRef("default", "a"))
        await settle()
        assert forgetting.told == [([parse_address(A)], before + 1)]


async def test_a_stricter_policy_forgets_nothing_and_bumps_nothing(forgetting):
    async with await keeping(forgetting) as setting:
        bumps = setting.account.bumps
        setting.policy("deny", DENY)
        setting.world.delete(NETWORK_POLICIES, ObjectRef("default", "to-b"))
        await settle()
        assert len(setting.programmer.batches) > 1
        assert setting.account.bumps == bumps
        assert forgetting.told == []


async def test_an_address_that_changes_hands_is_nobodys_in_between(forgetting):
    """Both events in one breath: without the step in between the new pod would have the rules and the old pod's connections."""
    async with await keeping(forgetting) as setting:
        before = len(setting.programmer.loads)
        setting.world.delete(PODS, ObjectRef("default", "a"))
        setting.pod("heir", A)
        await settle()
        between, after = setting.programmer.loads[before:]
        assert f"delete element inet stockade id4 {{ {A} }}" in between
        assert forgetting.told == [([parse_address(A)], before + 1)]
        assert f"add element inet stockade id4 {{ {A} " in after
        assert setting.published[-1] == ["default/heir"]


async def test_the_same_name_and_address_with_another_uid_is_another_pod(forgetting):
    async with await keeping(forgetting) as setting:
        setting.pod("a", A, uid="another")
        await settle()
        assert [addresses for addresses, _ in forgetting.told] == [[parse_address(A)]]


async def test_connections_to_a_pod_of_another_node_are_not_inherited_either(forgetting):
    async with await keeping(forgetting) as setting:
        setting.world.upsert(PODS, with_uid(pod("far", {"app": "b"}, "10.244.9.9", on="node-2"), "far"))
        await settle()
        setting.world.delete(PODS, ObjectRef("default", "far"))
        await settle()
        assert [addresses for addresses, _ in forgetting.told] == [[parse_address("10.244.9.9")]]


async def test_if_forgetting_fails_everything_is_judged_again(forgetting):
    async with await keeping(forgetting) as setting:
        forgetting.fail = True
        generation = setting.plane.generation
        setting.world.delete(PODS, ObjectRef("default", "a"))
        await settle()
        assert setting.plane.generation == generation + 1
        assert setting.faults.current == []


async def test_a_patch_that_was_lost_on_the_way_is_not_built_upon(monkeypatch):
    """The rules as a value went on, the kernel did not, and the data plane does not know: a bug before the first batch."""
    async with Setting(FakeProgrammer()) as setting:
        setting.pod("a", A)
        await settle()
        real, broken = plane.patch_transaction, [True]

        def lost(*arguments, **named):
            if broken and broken.pop():
                raise ZeroDivisionError("a bug")
            return real(*arguments, **named)

        monkeypatch.setattr(plane, "patch_transaction", lost)
        setting.pod("b", B)
        await settle()
        assert setting.faults.current
        setting.pod("c", "10.244.0.7")
        await setting.clock.pass_time(1)
        assert setting.published[-1] == ["default/a", "default/b", "default/c"]
        state = setting.world.current
        assert setting.plane.applied == lower(compile_state(state), node_view(state, "node-1"), Options())
