"""A table that belongs to our socket: out of everybody else's reach, in force when we are gone, adopted by the next."""

from __future__ import annotations

import subprocess

import pytest

from stockade.dataplane.diff import replace
from stockade.dataplane.nfnetlink import ownership
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nfnetlink.wire import OWNER
from stockade.dataplane.operations import AddElements, AddTable
from stockade.dataplane.programmer import ProgrammingError
from stockade.testing.handmade import TAMPERING, V4, adopted, batch_of, listed, nft

pytestmark = pytest.mark.kernel


def fails(*arguments: str) -> str:
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.fixture
def owner(network):
    made = Netlink(own=True)
    if not made.owns:
        made.close()
        pytest.skip("this kernel has no persistent owned tables")
    assert nft("list", "ruleset") == ""  # the probe is gone
    yield made
    made.close()


async def test_nobody_owns_what_would_vanish(owner, monkeypatch) -> None:
    monkeypatch.setattr(ownership, "OWNED", OWNER)
    plain = Netlink(own=True)
    assert not plain.owns
    await plain.commit(batch_of(AddTable()))
    plain.close()
    assert "table inet stockade" in listed()


async def test_an_owned_table_is_out_of_reach(owner) -> None:
    wanted = await adopted(owner)
    for command in TAMPERING:
        if command != "flush ruleset":
            assert "Operation not permitted" in fails(command)
    nft("flush ruleset")
    owner._right = None
    assert await owner.holds(wanted, 5)
    await owner.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    stranger = Netlink()
    with pytest.raises(ProgrammingError, match="not permitted"):
        await stranger.commit(batch_of(AddElements("empty", (V4,), frozenset({(2,)})), generation=5))
    with pytest.raises(ProgrammingError, match="not permitted"):
        await stranger.delete()
    stranger.close()


@pytest.mark.parametrize("own", [True, False])
async def test_an_orphan_stays_in_force_and_is_adopted(owner, own: bool) -> None:
    wanted = await adopted(owner)
    owner.close()
    heir = Netlink(own=own)
    held = await heir.read()
    assert (held.generation, held.ruleset.sets) == (5, wanted.sets)
    await heir.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    if own:
        assert "not permitted" in fails("flush chain inet stockade fwd_hook")
    await heir.commit(replace(wanted, 5).batches[0])
    assert await heir.holds(wanted, 6)
    if not own:
        nft("flush chain inet stockade fwd_hook")
    await heir.delete()
    assert nft("list", "ruleset") == ""
    heir.close()


async def test_a_table_without_owner_is_owned_once_it_is_made_anew(owner) -> None:
    plain = Netlink()
    wanted = await adopted(plain)
    plain.close()
    await owner.read()
    await owner.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    nft("flush chain inet stockade end")
    await owner.commit(replace(wanted, 5).batches[0])
    assert "not permitted" in fails("flush chain inet stockade end")
