"""Patches are values: applied, merged and said as operations they mean the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.dataplane.diff import turn_generation
from stockade.dataplane.ir import IdentityMap, KeyType, NamedSet, Remember, Ruleset
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.names import REMEMBER
from stockade.dataplane.operations import (
    AddElements,
    AddRule,
    DeleteElements,
    FlushChain,
    MapElements,
    TurnGeneration,
    UnmapElements,
)
from stockade.dataplane.patch import MapChange, Patch, SetChange, merged, patched, transaction
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod

BASE = lower(compile_state(ClusterState.of([pod("a", {}, "10.244.0.5", on="n")])), NodeView("n"))
FIVE, SIX = 0x0AF40005, 0x0AF40006
NUMBER = BASE.identities["id4"].elements[FIVE]

_keys = st.frozensets(st.integers(0, 4))
_numbers = st.dictionaries(st.integers(0, 4), st.integers(1, 3))


def _table(elements: frozenset[int], numbers: dict[int, int]) -> Ruleset:
    sets = {"s": NamedSet("s", (KeyType.IPV4,), frozenset((each,) for each in elements))}
    ids = {"id4": IdentityMap("id4", KeyType.IPV4, numbers)}
    return Ruleset(sets, ids, {}, {}, {}, (), 0xFF00)


def _step(old: Ruleset, new: Ruleset) -> Patch:
    before, after = old.sets["s"].elements, new.sets["s"].elements
    was, now = old.identities["id4"].elements, new.identities["id4"].elements
    come = {address: number for address, number in now.items() if was.get(address) != number}
    gone = frozenset(address for address, number in was.items() if now.get(address) != number)
    return Patch({"s": SetChange(after - before, before - after)}, {"id4": MapChange(come, gone)})


@given(st.lists(st.tuples(_keys, _numbers), min_size=3, max_size=5))
def test_merged_patches_do_what_they_do_one_after_the_other(
    moments: list[tuple[frozenset[int], dict[int, int]]],
):
    tables = [_table(elements, numbers) for elements, numbers in moments]
    steps = [_step(old, new) for old, new in itertools.pairwise(tables)]
    whole = Patch()
    for step in steps:
        whole = merged(whole, step)
    assert patched(tables[0], steps) == tables[-1]
    assert patched(tables[0], [whole]) == tables[-1]
    before, after = tables[0].sets["s"].elements, tables[-1].sets["s"].elements
    change = whole.sets.get("s", SetChange())
    assert (change.come, change.gone) == (after - before, before - after)
    moved = whole.identities.get("id4", MapChange())
    assert moved.gone <= tables[0].identities["id4"].elements.keys()
    assert not (moved.come.keys() & tables[0].identities["id4"].elements.keys()) - moved.gone


def test_a_stricter_part_makes_the_whole_stricter() -> None:
    assert merged(Patch(stricter=True), Patch()).stricter
    assert merged(Patch(), Patch(stricter=True)).stricter
    assert not merged(Patch(), Patch()).stricter


def test_without_patches_nothing_is_copied() -> None:
    assert patched(BASE, []) is BASE
    assert patched(BASE, [Patch()]) is BASE
    assert Patch().is_empty


def test_what_is_not_touched_is_shared() -> None:
    after = patched(BASE, [Patch({"self4": SetChange(come=frozenset({(SIX, SIX)}))})])
    assert after.sets["self4"].elements == {(FIVE, FIVE), (SIX, SIX)}
    assert after.sets["self6"] is BASE.sets["self6"]
    assert after.identities["id4"] is BASE.identities["id4"]


def test_an_unknown_set_is_an_error() -> None:
    with pytest.raises(KeyError):
        patched(BASE, [Patch({"p4_no": SetChange(come=frozenset({(1,)}))})])


def test_a_pod_more_is_one_batch_of_elements_under_the_same_generation() -> None:
    patch = Patch({"self4": SetChange(come=frozenset({(SIX, SIX)}))}, {"id4": MapChange(come={SIX: NUMBER})})
    done = transaction(patch, BASE, 9)
    (batch,) = done.batches
    assert (done.generation, done.bump, batch.generation) == (9, False, 9)
    assert batch.mark_mask == BASE.mark_mask
    assert batch.elements_only
    assert batch.operations == (
        AddElements("self4", (KeyType.IPV4, KeyType.IPV4), frozenset({(SIX, SIX)})),
        MapElements("id4", KeyType.IPV4, {SIX: NUMBER}),
    )
    assert patch.elements == 2


def test_a_pod_less_raises_the_generation_in_the_same_batch() -> None:
    patch = Patch(
        {"self4": SetChange(gone=frozenset({(FIVE, FIVE)}))},
        {"id4": MapChange(gone=frozenset({FIVE}))},
        stricter=True,
    )
    done = transaction(patch, BASE, 9)
    (batch,) = done.batches
    assert (done.generation, done.bump, batch.generation) == (10, True, 10)
    assert batch.elements_only
    assert batch.operations == (
        TurnGeneration(9),
        FlushChain(REMEMBER),
        *(AddRule(REMEMBER, rule) for rule in BASE.chains[REMEMBER].rules),
        DeleteElements("self4", (KeyType.IPV4, KeyType.IPV4), frozenset({(FIVE, FIVE)})),
        UnmapElements("id4", KeyType.IPV4, (FIVE,)),
    )
    kept = transaction(patch, BASE, 9, bump=False)
    assert (kept.generation, kept.bump) == (9, False)
    assert not any(isinstance(each, FlushChain) for each in kept.batches[0].operations)


def test_a_changed_identity_is_taken_away_before_it_is_given() -> None:
    patch = Patch({}, {"id4": MapChange({FIVE: 7}, frozenset({FIVE}))})
    (batch,) = transaction(patch, BASE, 9).batches
    assert [type(each) for each in batch.operations] == [UnmapElements, MapElements]


def test_nothing_to_do_is_no_batch() -> None:
    assert transaction(Patch(), BASE, 9).is_empty
    # Wanted all the same by whoever must have all connections judged again.
    assert not transaction(Patch(), BASE, 9, bump=True).is_empty


def test_one_chain_knows_the_generation() -> None:
    knowing = {
        chain.name
        for chain in BASE.chains.values()
        for rule in chain.rules
        if isinstance(rule.action, Remember)
    }
    assert knowing == {REMEMBER}
    assert {each.name for each in turn_generation(BASE, 1) if isinstance(each, FlushChain)} == knowing
