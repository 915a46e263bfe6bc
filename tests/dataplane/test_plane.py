"""Adoption, differences, failures and repair, against a programmer without a kernel."""

from __future__ import annotations

import asyncio

import pytest

from stockade.dataplane.commands import batch_text
from stockade.dataplane.diff import replace
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.patch import MapChange, Patch, SetChange
from stockade.dataplane.plane import Applied, Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.dataplane.strictness import is_stricter
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


def whole(ruleset: Ruleset, generation: int) -> str:
    """The text that makes the table anew under ``generation``."""
    (batch,) = replace(ruleset, generation - 1).batches
    return batch_text(batch)


@pytest.fixture
def fake() -> FakeProgrammer:
    return FakeProgrammer()


async def test_first_apply_changes_the_table_in_force_in_place() -> None:
    fake = FakeProgrammer(generation=41, ruleset=rules(A))
    plane = Dataplane(fake)
    done = await plane.apply(rules(A, DENY))
    assert (done.changed, done.bumped, done.full) == (True, True, False)
    prepared, switched, _ = fake.loads
    assert "delete table" not in prepared
    assert "add element inet stockade id4 { 10.244.0.5" in switched
    assert plane.generation == 42 == (await fake.read()).generation


async def test_a_strange_table_is_replaced_under_the_next_generation() -> None:
    fake = FakeProgrammer(generation=41)
    plane = Dataplane(fake)
    done = await plane.apply(rules(A))
    assert (done.changed, done.bumped, done.full) == (True, True, True)
    assert fake.loads == [whole(rules(A), 42)]
    assert plane.generation == 42


async def test_adopting_what_is_right_already_still_raises_the_generation() -> None:
    fake = FakeProgrammer(generation=41, ruleset=rules(A, DENY))
    done = await Dataplane(fake).apply(rules(A, DENY))
    assert done.bumped
    assert "gen { 0x002a0000 : accept }" in fake.loads[0]
    assert fake.loads[0].count(" element ") == 2  # those of the generation


async def test_a_chain_is_made_before_a_denied_address_changes_to_it(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A, DENY))
    other = policy(
        "other", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 53}]}]}
    )
    await plane.apply(rules(A, DENY, other))
    prepared, switched, retired = fake.loads[1:]
    assert "add rule inet stockade e_" in prepared
    assert " id4 " not in prepared + retired
    assert "add element inet stockade id4" in switched
    assert "add chain" not in switched
    assert "delete chain" in retired


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
    assert not any("delete table" in text for text in fake.loads[1:])
    assert plane.generation == 2 == (await fake.read()).generation
    assert await plane.apply(rules(A, DENY)) == Applied(changed=False)
    assert len(fake.loads) == 4


async def test_refused_difference_starts_from_the_table_in_force(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))
    fake.fail("Error: No such file or directory")
    done = await plane.apply(rules(A, DENY))
    assert done.full
    assert fake.loads[1] == whole(rules(A, DENY), 2)
    assert plane.applied == rules(A, DENY)


async def test_what_fails_is_told_at_once_and_a_table_that_never_yields_is_made_anew() -> None:
    fake = FakeProgrammer(generation=3, ruleset=rules(A))
    plane = Dataplane(fake)
    await plane.apply(rules(A))
    fake.fail("one", "Error: two", "Error: three", "Error: four")
    for words in ("two", "three", "four"):
        with pytest.raises(ProgrammingError, match=f"Error: {words}"):
            await plane.apply(rules(A, DENY))
        assert plane.applied is None
    assert (await plane.apply(rules(A, DENY))).full
    assert not (await plane.apply(rules(A))).full


async def test_after_one_failure_the_table_is_still_changed_in_place() -> None:
    fake = FakeProgrammer(generation=3, ruleset=rules(A))
    plane = Dataplane(fake)
    await plane.apply(rules(A))
    fake.fail("one", "two")
    with pytest.raises(ProgrammingError):
        await plane.apply(rules(A, DENY))
    assert not (await plane.apply(rules(A, DENY))).full


async def test_a_failure_between_two_batches_starts_from_the_table_in_force(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))

    class Second(FakeProgrammer):
        async def commit(self, batch: object) -> None:
            if len(self.batches) == 1:
                self.ruleset = rules(A)
                self.fail("refused") if not self.deleted else None
                self.deleted = True
            await super().commit(batch)

    second = Second(generation=1, ruleset=rules(A))
    plane = Dataplane(second)
    await plane.apply(rules(A))
    done = await plane.apply(rules(A, DENY))
    assert (done.changed, done.full, done.bumped) == (True, False, True)
    assert plane.applied == rules(A, DENY)


async def test_kept_flows_raise_no_generation_and_forget_who_left() -> None:
    gone: list[object] = []

    async def forget(addresses: list[object]) -> None:
        gone.extend(addresses)

    fake = FakeProgrammer()
    plane = Dataplane(fake, generation=0, forget=forget)
    await plane.apply(rules(A))
    assert not (await plane.apply(rules(A, DENY))).bumped
    assert gone == []
    await plane.apply(rules(DENY))
    assert gone == [(4, 10 << 24 | 244 << 16 | 5)]
    assert plane.generation == 1


async def test_kept_flows_are_judged_again_when_an_address_cannot_be_forgotten() -> None:
    async def forget(addresses: list[object]) -> None:
        raise OSError("no conntrack")

    fake = FakeProgrammer()
    plane = Dataplane(fake, generation=0, forget=forget)
    await plane.apply(rules(A))
    await plane.apply(rules())
    assert plane.generation == 2 == (await fake.read()).generation
    assert "gen { 0x00020000 : accept }" in fake.loads[-1]


async def test_interrupted_apply_is_followed_by_a_replacement() -> None:
    class Hanging(FakeProgrammer):
        hang = False

        async def commit(self, batch: object) -> None:
            if self.hang:
                await asyncio.sleep(60)
            await super().commit(batch)

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
    before = len(fake.loads)
    fake.intact = False
    assert not await plane.verify()
    assert fake.loads[before:] == [whole(rules(A, DENY), 2)]
    assert await plane.verify()


async def test_cleanup_takes_the_table_away(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    await plane.apply(rules(A))
    await plane.cleanup()
    assert fake.deleted
    assert plane.applied is None
    assert (await plane.apply(rules(A))).full
    assert plane.generation == 2  # marks of before do not count


def only(old: Ruleset, new: Ruleset) -> Patch:
    """The patch between two rulesets that differ by elements only."""
    sets = {
        name: SetChange(each.elements - old.sets[name].elements, old.sets[name].elements - each.elements)
        for name, each in new.sets.items()
        if each.elements != old.sets[name].elements
    }
    identities = {}
    for name, each in new.identities.items():
        before = old.identities[name].elements
        come = {a: n for a, n in each.elements.items() if before.get(a) != n}
        gone = frozenset(a for a, n in before.items() if each.elements.get(a) != n)
        if come or gone:
            identities[name] = MapChange(come, gone)
    return Patch(sets, identities, is_stricter(old, new))


TWIN = pod("twin", {"app": "a"}, "10.244.0.9", on="node-1")


async def test_patches_are_elements_in_one_batch_and_are_folded_in_when_asked(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    one, two = rules(A, DENY), rules(A, TWIN, DENY)
    await plane.apply(one)
    done = await plane.patch(only(one, two), lambda: two)
    assert (done.changed, done.bumped, done.full) == (True, False, False)
    assert fake.batches[-1].elements_only
    assert plane.applied == two
    assert not (await plane.apply(two)).changed
    assert (await plane.patch(only(two, one), lambda: one)).bumped
    assert plane.generation == 2 == (await fake.read()).generation
    assert plane.applied == one


async def test_many_patches_are_one_in_the_end(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    one, two = rules(A, DENY), rules(A, TWIN, DENY)
    await plane.apply(one)
    for _ in range(150):
        await plane.patch(only(one, two), lambda: two)
        await plane.patch(only(two, one), lambda: one)
    assert plane.applied == one


async def test_a_refused_patch_starts_from_the_table_in_force_with_the_whole(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    one, two = rules(A, DENY), rules(A, TWIN, DENY)
    await plane.apply(one)
    fake.ruleset = one
    fake.fail("no such element")
    done = await plane.patch(only(one, two), lambda: two)
    assert (done.bumped, done.full) == (True, False)
    assert plane.applied == two
    assert "add element inet stockade id4 { 10.244.0.9" in fake.loads[-1]


async def test_before_anything_is_applied_a_patch_is_the_whole(fake: FakeProgrammer) -> None:
    plane = Dataplane(fake, generation=0)
    assert (await plane.patch(Patch(), lambda: rules(A))).full


async def test_kept_flows_forget_the_addresses_that_a_patch_takes_away() -> None:
    gone: list[object] = []

    async def forget(addresses: list[object]) -> None:
        gone.extend(addresses)

    plane = Dataplane(FakeProgrammer(), generation=0, forget=forget)
    one, two = rules(A, DENY), rules(A, TWIN, DENY)
    await plane.apply(two)
    await plane.patch(only(two, one), lambda: one)
    assert gone == [(4, 10 << 24 | 244 << 16 | 9)]
    assert plane.generation == 1


async def test_kept_flows_forget_who_left_while_the_kernel_refused() -> None:
    gone: list[object] = []

    async def forget(addresses: list[object]) -> None:
        gone.extend(addresses)

    fake = FakeProgrammer()
    plane = Dataplane(fake, generation=0, forget=forget)
    one, two = rules(A, DENY), rules(A, TWIN, DENY)
    await plane.apply(one)
    await plane.patch(only(one, two), lambda: two)
    fake.fail("refused", "refused")
    with pytest.raises(ProgrammingError):
        await plane.apply(rules(DENY))
    assert gone == []
    await plane.apply(rules(DENY))
    assert sorted(gone) == [(4, 10 << 24 | 244 << 16 | 5), (4, 10 << 24 | 244 << 16 | 9)]
