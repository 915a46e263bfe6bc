"""Which users a lab has, and what it says about the others."""

from __future__ import annotations

import pytest

from stockade.lab.node import identities
from stockade.lab.node.identities import Identities

ALL = 2**32 - 1
ROOT_ALONE = Identities(((0, 1),), ((0, 1),), sets_groups=False)
RANGES = Identities(((0, 1), (1, 65536)), ((0, 1), (1, 65536)))


@pytest.mark.parametrize(
    ("who", "uid", "gid", "groups", "missing"),
    [
        (ROOT_ALONE, 0, 0, (), ""),
        (ROOT_ALONE, 101, 0, (), "user 101"),
        (ROOT_ALONE, 0, 5, (), "group 5"),
        (ROOT_ALONE, 0, 0, (0,), "group 0"),  # setgroups is denied, whatever the group
        (RANGES, 65536, 1, (7, 65536), ""),
        (RANGES, 65537, 1, (), "user 65537"),
        (RANGES, 1, 1, (65537,), "group 65537"),
    ],
)
def test_who_exists(who, uid, gid, groups, missing) -> None:
    said = who.refusal(uid, gid, groups)
    assert (said or "").startswith(missing)
    assert bool(said) == bool(missing)


def test_what_is_said_of_a_lab_without_root() -> None:
    assert Identities(((0, ALL),), ((0, ALL),), in_user_namespace=False).note("4.19.0") == ""
    assert Identities(((0, ALL),), ((0, ALL),)).note("6.1.0-9-amd64") == "it runs without root"
    assert RANGES.note("5.10.0-21").endswith("every container copies its image")
    assert "pods have no user but 0" in ROOT_ALONE.note("5.11")
    assert "copies" not in ROOT_ALONE.note("5.11")


def test_the_maps_are_read(tmp_path) -> None:
    (tmp_path / "uid_map").write_text("         0       1000          1\n         1     100000      65536\n")
    (tmp_path / "gid_map").write_text("0 1000 1\n")
    (tmp_path / "setgroups").write_text("deny\n")
    read = identities.read(tmp_path)
    assert (read.uids, read.gids, read.sets_groups) == (((0, 1), (1, 65536)), ((0, 1),), False)
    assert identities.read(tmp_path / "none").uids == ((0, ALL),)
