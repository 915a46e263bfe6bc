"""Adoption, differences, failures and repair, against a programmer without a kernel."""

from __future__ import annotations

import asyncio

import pytest

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.plane import Applied, Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.dataplane.render import render
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy
from stockade.testing.programmer import FakeProgrammer

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
A = pod("a", {"app": "a"}, "10.244.0.5", on="node-1")
DENY = policy("deny", {"podSelector": {}, "policyTypes": ["Egress"]})


def rules(*objects: object) -> Ruleset:
    return lower(compile_state(ClusterState.of(objects)), NODE)


class Pauses:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def fake() -> FakeProgrammer:
    return FakeProgrammer()


async def test_first_apply_changes_the_table_in_force_in_place() -> None:
    fake = FakeProgrammer(generation=41, ruleset=rules(A))
    plane = Dataplane(fake)
    done = await plane.apply(rules(A, DENY))
    assert (done.changed, done.bumped, done.full) == (True, True, False)
    assert "delete table" not in fake.loads[0]
    assert "add element inet stockade eg4 { 10.244.0.5" in fake.loads[0]
    assert plane.generation == 42 == (await fake.read()).generation


async def test_a_strange_table_is_replaced_under_the_next_generation() -> None:
    fake = FakeProgrammer(generation=41)
    plane = Dataplane(fake)
    done = await plane.apply(rules(A))
    assert (done.changed, done.bumped, done.full) == (True, True, True)
    assert fake.loads == [render(rules(A), 42)]
    assert plane.generation == 42


async def test_adopting_what_is_right_already_still_raises_the_generation() -> None:
    fake = FakeProgrammer(generation=41, ruleset=rules(A, DENY))
    done = await Dataplane(fake).apply(rules(A, DENY))
    assert done.bumped
    assert "== 0x002a0000 accept" in fake.loads[0]
    assert "element" not in fake.loads[0]


async def test_a_chain_is_made_before_a_denied_address_changes_to_it(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A, DENY))
    other = policy(
        "other", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 53}]}]}
    )
    await plane.apply(rules(A, DENY, other))
    prepared, switched = fake.loads[1:]
    assert "add rule inet stockade e_" in prepared
    assert "element" not in prepared
    assert "add element inet stockade eg4" in switched
    assert "add chain" not in switched


async def test_without_a_table_counting_starts_anywhere_but_where_told(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=7)
    await plane.apply(rules(A))
    assert plane.generation == 8
    starts = set()
    for _ in range(5):
        other = Dataplane(FakeProgrammer())
        await other.apply(rules(A))
        starts.add(other.generation)
    assert len(starts) > 1


async def test_later_only_the_difference(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))
    done = await plane.apply(rules(A, DENY))
    assert done.bumped
    assert not done.full
    assert "delete table" not in fake.loads[1]
    assert plane.generation == 2 == (await fake.read()).generation
    assert await plane.apply(rules(A, DENY)) == Applied(changed=False)
    assert len(fake.loads) == 2


async def test_refused_difference_starts_from_the_table_in_force(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))
    fake.fail("Error: No such file or directory")
    done = await plane.apply(rules(A, DENY))
    assert done.full
    assert fake.loads[1] == render(rules(A, DENY), 2)
    assert plane.applied == rules(A, DENY)


async def test_retries_with_growing_pauses_then_says_what_nft_said(fake: FakeProgrammer) -> None:
    pauses = Pauses()
    plane = Dataplane(fake, retries=2, pause=0.1, sleep=pauses)
    fake.fail("busy", "busy")
    assert (await plane.apply(rules(A))).changed
    assert pauses.seconds == [0.1, 0.2]
    fake.fail("one", "two", "three", "Error: four")
    with pytest.raises(ProgrammingError, match="Error: four"):
        await plane.apply(rules(A, DENY))
    assert plane.applied is None
    assert (await plane.apply(rules(A, DENY))).full


async def test_interrupted_apply_is_followed_by_a_replacement() -> None:
    class Hanging(FakeProgrammer):
        hang = False

        async def load(self, text: str) -> None:
            if self.hang:
                await asyncio.sleep(60)
            await super().load(text)

    fake = Hanging()
    plane = Dataplane(fake)
    await plane.apply(rules(A))
    fake.hang = True
    task = asyncio.create_task(plane.apply(rules(A, DENY)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fake.hang = False
    assert (await plane.apply(rules(A))).full


async def test_verify_repairs_what_somebody_changed(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    assert await plane.verify()
    await plane.apply(rules(A, DENY))
    assert await plane.verify()
    assert len(fake.loads) == 1
    fake.intact = False
    assert not await plane.verify()
    assert fake.loads[1] == render(rules(A, DENY), 2)
    assert await plane.verify()


async def test_cleanup_takes_the_table_away(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))
    await plane.cleanup()
    assert fake.deleted
    assert plane.applied is None
    assert (await plane.apply(rules(A))).full
    assert plane.generation == 2  # marks of before do not count
