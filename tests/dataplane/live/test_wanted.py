"""Each value stands for one moment, whoever is asked first."""

from __future__ import annotations

from stockade.dataplane.ir import KeyType, NamedSet, Ruleset
from stockade.dataplane.live.wanted import Wanted
from stockade.dataplane.patch import Patch, SetChange

EMPTY = Ruleset({"s": NamedSet("s", (KeyType.IPV4,), frozenset())}, {}, {}, {}, {}, (), 0xFF00)


def adding(number: int) -> Patch:
    return Patch({"s": SetChange(come=frozenset({(number,)}))})


def numbers(wanted: Wanted) -> set[int]:
    return {each for (each,) in wanted().sets["s"].elements}


def test_a_later_patch_does_not_change_an_earlier_value() -> None:
    zero = Wanted(EMPTY)
    one = zero.after(adding(1))
    two = one.after(adding(2))
    other = one.after(adding(3))
    assert [numbers(each) for each in (other, two, one, zero)] == [{1, 3}, {1, 2}, {1}, set()]
    assert numbers(one.after(adding(4))) == {1, 4}
    assert one() is one()


def test_an_empty_patch_is_the_same_value() -> None:
    one = Wanted(EMPTY).after(adding(1))
    assert one.after(Patch()) is one


def test_many_patches_are_merged_and_mean_the_same() -> None:
    values = [Wanted(EMPTY)]
    for number in range(700):
        values.append(values[-1].after(adding(number)))
    for count in (700, 513, 512, 257, 256, 255, 1):
        assert numbers(values[count]) == set(range(count))
