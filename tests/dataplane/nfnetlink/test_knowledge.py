"""What is known about our table when others write too."""

from __future__ import annotations

import pytest

from stockade.dataplane.nfnetlink.events import Commit, Lost
from stockade.dataplane.nfnetlink.knowledge import Knowledge

LAST = (1 << 32) - 1


def known(generation_id: int) -> Knowledge:
    made = Knowledge()
    made.know(generation_id)
    return made


def commit(generation_id: int, *changes: str) -> Commit:
    return Commit(generation_id, "nft", 7, changes)


def test_other_tables_move_the_id_along():
    each = known(5)
    each.observe([commit(6), commit(7)])
    assert (each.generation_id, each.doubt) == (7, "")


def test_a_change_of_our_table_is_a_doubt_until_it_is_read():
    each = known(5)
    each.observe([commit(6, "set p4 deleted"), commit(7)])
    assert each.generation_id is None
    assert each.doubt == "nft (pid 7): set p4 deleted"
    each.observe([commit(8)])
    assert each.generation_id is None
    each.know(8)
    assert (each.generation_id, each.doubt) == (8, "")


@pytest.mark.parametrize("old", [3, 5])
def test_what_is_known_already_is_no_news(old: int):
    each = known(5)
    each.observe([commit(old, "chain e_x deleted")])
    assert each.generation_id == 5


def test_lost_notifications_are_a_doubt():
    each = known(5)
    each.observe([Lost()])
    assert each.generation_id is None
    assert "lost" in each.doubt


def test_nothing_known_is_no_doubt():
    each = Knowledge()
    each.observe([commit(6, "table deleted"), Lost()])
    assert (each.generation_id, each.doubt) == (None, "")
    assert not each.is_behind(6)


def test_the_counter_of_the_kernel_wraps_and_leaves_out_zero():
    each = known(LAST)
    each.observe([commit(1)])
    assert each.generation_id == 1
    assert each.is_behind(2)
    assert not each.is_behind(LAST)
    each.made(LAST)
    assert each.generation_id == 1
    each.observe([commit(LAST, "table deleted")])
    assert each.generation_id == 1
