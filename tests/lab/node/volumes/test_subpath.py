"""subPath: made inside the volume, never outside, whatever links the pod has put there."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from stockade.lab.node.volumes.subpath import SubpathError, ensure


def test_made_with_the_rights_of_the_volume(tmp_path: Path) -> None:
    tmp_path.chmod(0o2777)
    ensure(str(tmp_path), "a/b//c/.")
    assert stat.S_IMODE((tmp_path / "a/b/c").stat().st_mode) == 0o2777
    (tmp_path / "file").touch()
    ensure(str(tmp_path), "file")
    (tmp_path / "inner").symlink_to("a/b")
    ensure(str(tmp_path), "inner/new")
    assert (tmp_path / "a/b/new").is_dir()


@pytest.mark.parametrize("path", ["/etc", "..", "a/../..", "../x"])
def test_no_way_out_by_name(tmp_path: Path, path) -> None:
    with pytest.raises(SubpathError):
        ensure(str(tmp_path), path)


@pytest.mark.parametrize("target", ["/", "/etc", "..", "../victim", "/proc/self/root", "a/../../victim"])
@pytest.mark.parametrize("more", ["", "/x", "/x/y"])
def test_no_way_out_by_link(tmp_path: Path, target, more) -> None:
    volume, victim = tmp_path / "volume", tmp_path / "victim"
    volume.mkdir()
    victim.mkdir()
    (volume / "a").mkdir()
    (volume / "link").symlink_to(target)
    with pytest.raises(SubpathError):
        ensure(str(volume), f"link{more}")
    assert list(victim.iterdir()) == []


def test_no_way_out_while_links_are_swapped(tmp_path: Path) -> None:
    """A directory that becomes a link between two looks (CVE-2021-25741)."""
    volume, victim = tmp_path / "volume", tmp_path / "victim"
    volume.mkdir()
    victim.mkdir()
    (volume / "real").mkdir()
    (volume / "evil").symlink_to("../victim")
    (volume / "a").symlink_to("real")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for name in ("real", "evil"):
                (volume / "spare").symlink_to(name)
                (volume / "spare").rename(volume / "a")

    swapping = threading.Thread(target=swap)
    swapping.start()
    ends: set[str] = set()
    number = 0
    while number < 400 or (len(ends) < 2 and number < 100_000):  # until it was seen either way
        number += 1
        try:
            ensure(str(volume), f"a/{number}/x")
            ends.add("made")
        except SubpathError:
            ends.add("refused")
    done.set()
    swapping.join()
    assert ends == {"made", "refused"}
    assert list(victim.iterdir()) == []
