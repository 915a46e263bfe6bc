"""The guard under a virtual clock: what it is told, what it looks at, what it says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from stockade.agent.account import Account
from stockade.agent.faults import Faults, NodeEvents, Work
from stockade.agent.guard import GATHER, UNWATCHED, WATCHED, Guard
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.testing.clock import VirtualClock


class Change(msgspec.Struct):
    process: str
    pid: int
    what: str


class Plane:
    """Only what the guard uses. ``answers``: what verify returns or raises next; when empty, True."""

    def __init__(self):
        self.answers, self.looks, self.applied, self.takes = [], 0, object(), 0.0

    async def verify(self):
        self.looks += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class Setting:
    def __init__(self, *, watched=True, every=None):
        self.clock, self.plane, self.account = VirtualClock(), Plane(), Account()
        self.recorded, self.distrusted, self.opened, self.broken = [], 0, 0, 0
        self.faults = Faults(NodeEvents(self, "node-1", str), self.clock.monotonic)
        self.news = asyncio.Queue()
        self.guard = Guard(
            self.plane,
            account=self.account,
            faults=self.faults,
            distrust=self.distrust,
            clock=self.clock,
            watch=self.watch if watched else None,
            every=every,
        )

    def record(self, occurrence, count=1):
        self.recorded.append(occurrence)

    def distrust(self):
        self.distrusted += 1

    @asynccontextmanager
    async def watch(self):
        self.opened += 1
        if self.broken:
            self.broken -= 1
            raise OSError(1, "not permitted")
        yield self.changes()

    async def changes(self):
        while True:
            change = await self.news.get()
            if isinstance(change, Exception):
                raise change
            yield change

    async def __aenter__(self):
        self.task = asyncio.create_task(self.guard.run())
        await self.clock.pass_time(1)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait({self.task})


def tampering(pid=7, what="1 element deleted"):
    return Change("nft", pid, what)


async def test_a_change_is_looked_at_at_once_and_the_repair_names_who_did_it():
    async with Setting() as setting:
        looked = setting.plane.looks
        setting.plane.answers = [False]
        setting.news.put_nowait(tampering())
        await setting.clock.pass_time(2 * GATHER)
        assert setting.plane.looks == looked + 1
        assert setting.account.repairs == 1
        (event,) = setting.recorded
        assert (event.type, event.reason) == ("Warning", "NetworkPolicyTableChanged")
        assert event.message == (
            "the table inet stockade was changed by nft (pid 7): 1 element deleted; it has been repaired"
        )


async def test_a_change_that_was_put_right_already_is_told_and_is_no_repair():
    async with Setting() as setting:
        setting.news.put_nowait(tampering())
        await setting.clock.pass_time(1)
        assert setting.account.foreign_changes == 1
        assert setting.account.repairs == 0
        (event,) = setting.recorded
        assert event.message.endswith("changed by nft (pid 7): 1 element deleted; it is as programmed again")


async def test_lost_notifications_are_looked_after_and_nobody_is_blamed():
    async with Setting() as setting:
        looked = setting.plane.looks
        setting.news.put_nowait(Change("", 0, "notifications were lost"))
        await setting.clock.pass_time(1)
        assert setting.plane.looks == looked + 1
        assert setting.recorded == []
        setting.plane.answers = [False]
        setting.news.put_nowait(Change("", 0, "notifications were lost"))
        await setting.clock.pass_time(1)
        assert (
            "changed by somebody else: notifications were lost; it has been repaired"
            in setting.recorded[0].message
        )


async def test_a_storm_of_changes_is_few_looks_and_one_event():
    async with Setting() as setting:
        looked = setting.plane.looks
        setting.plane.answers = [False] * 1000
        for number in range(500):
            setting.news.put_nowait(tampering(pid=number, what=f"thing {number}"))
        await setting.clock.pass_time(2 * GATHER)
        assert setting.plane.looks - looked <= 2
        assert len({each.key for each in setting.recorded}) == 1
        assert "and 61 more" in setting.recorded[0].message


async def test_looks_take_a_third_of_the_time_at_most():
    async with Setting() as setting:

        async def slow():
            setting.plane.looks += 1
            await setting.clock.sleep(1.0)
            return True

        setting.plane.verify = slow
        looked = setting.plane.looks
        for _ in range(3000):
            setting.news.put_nowait(tampering())
            await setting.clock.pass_time(0.01)
        assert 9 <= setting.plane.looks - looked <= 10


@pytest.mark.parametrize(("watched", "seconds"), [(True, WATCHED), (False, UNWATCHED)])
async def test_without_being_told_it_looks_from_time_to_time(watched, seconds):
    async with Setting(watched=watched) as setting:
        looked = setting.plane.looks
        await setting.clock.pass_time(10 * seconds)
        assert 9 <= setting.plane.looks - looked <= 10


async def test_a_repair_that_nobody_told_of_says_so():
    async with Setting(watched=False, every=5.0) as setting:
        setting.plane.answers = [False]
        await setting.clock.pass_time(6)
        assert "was changed by somebody else; it" in setting.recorded[0].message


async def test_a_watch_that_breaks_is_opened_again_and_meanwhile_the_timer_is_the_short_one():
    async with Setting() as setting:
        assert setting.account.watching
        looked = setting.plane.looks
        setting.news.put_nowait(OSError(105, "No buffer space available"))
        setting.broken = 1000
        await setting.clock.pass_time(0.1)
        assert not setting.account.watching
        assert setting.plane.looks > looked  # what was lost may have been a change
        looked = setting.plane.looks
        await setting.clock.pass_time(100)
        assert setting.plane.looks - looked >= 100 / UNWATCHED - 1
        setting.broken = 0
        await setting.clock.pass_time(40)
        assert setting.account.watching


@pytest.mark.parametrize("error", [ProgrammingError("cannot list"), ZeroDivisionError("a bug")])
async def test_a_look_that_fails_is_visible_tried_again_and_told_when_it_works(error):
    async with Setting() as setting:
        looked = setting.plane.looks
        setting.plane.answers = [error] * 3
        setting.news.put_nowait(tampering())
        await setting.clock.pass_time(2 * GATHER)
        (fault,) = setting.faults.current
        assert fault.work is Work.VERIFYING
        assert str(error) in fault.error
        await setting.clock.pass_time(5)
        assert setting.plane.looks == looked + 4  # after 0.5, 1 and 2 seconds
        assert setting.faults.current == []
        reasons = ["NetworkPolicyVerificationFailed"] * 3 + [
            "NetworkPolicyVerified",
            "NetworkPolicyTableChanged",
        ]
        assert [each.reason for each in setting.recorded] == reasons
        assert setting.distrusted == 0


async def test_a_repair_that_failed_half_way_is_handed_to_the_programming_loop():
    async with Setting() as setting:
        setting.plane.applied = None
        setting.plane.answers = [ProgrammingError("no space"), True]
        setting.news.put_nowait(tampering())
        await setting.clock.pass_time(0.1)
        assert setting.distrusted == 1


async def test_who_changed_it_is_remembered_until_the_repair_works():
    async with Setting() as setting:
        setting.plane.answers = [ProgrammingError("no space"), False]
        setting.news.put_nowait(tampering())
        await setting.clock.pass_time(3)
        assert "nft (pid 7)" in setting.recorded[-1].message + setting.recorded[-2].message


def test_the_plane_has_what_the_guard_uses():
    assert callable(Dataplane.verify)
    assert isinstance(Dataplane.applied, property)
