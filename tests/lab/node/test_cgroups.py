"""Groups of version 2 in a tree of plain files, and where they may be made; what the kernel makes of them: ``recipe/test_limits.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockade.lab.node import cgroups, hierarchies
from stockade.lab.node.cgroups import CgroupError, read_record, remove_recorded
from stockade.lab.node.hierarchies import Hierarchy

ALL = "memory cpu pids"
LIMITED = {"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}


def group(directory: Path, *, gives: str = "", has: str = ALL) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "cgroup.subtree_control": gives,
        "cgroup.controllers": has,
        "cgroup.procs": "",
    }.items():
        (directory / name).write_text(text)
    return directory


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process of a user's terminal on a machine with systemd and cgroups of version 2."""
    proc, top = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    (proc / "mountinfo").write_text(
        f"25 1 0:1 / / rw - ext4 /dev/vda rw\n30 25 0:26 / {top} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    (proc / "cgroup").write_text("0::/user.slice/user@1000.service/app.slice/terminal.scope\n")
    group(top, gives=ALL)
    group(top / "user.slice", gives=ALL)
    group(top / "user.slice/user@1000.service", gives=ALL)
    group(top / "user.slice/user@1000.service/app.slice", gives="memory pids")
    group(top / "user.slice/user@1000.service/app.slice/terminal.scope", has="memory pids")
    return proc


def test_the_nearest_group_that_gives_its_children_controllers(proc: Path) -> None:
    found = hierarchies.find(proc)
    assert [(each.directory.name, each.controllers, each.unified) for each in found] == [
        ("app.slice", ("memory", "pids"), True)
    ]


def test_nothing_is_written_outside_what_is_ours(proc: Path, monkeypatch) -> None:
    monkeypatch.setattr(hierarchies.os, "access", lambda path, _mode: "user.slice" not in str(path))
    assert [each.directory.name for each in hierarchies.find(proc)] == ["sys"]
    monkeypatch.setattr(hierarchies.os, "access", lambda _path, _mode: False)
    assert hierarchies.find(proc) == []


def test_a_group_of_ours_alone_is_told_to_give(proc: Path) -> None:
    top = proc.parent / "sys"
    for place in (top, *(each for each in top.rglob("*") if each.is_dir())):
        (place / "cgroup.subtree_control").write_text("")
    assert [each.directory.name for each in hierarchies.find(proc)] == ["terminal.scope"]
    control = top / "user.slice/user@1000.service/app.slice/terminal.scope/cgroup.subtree_control"
    assert control.read_text() == "+memory +pids"


def test_a_container_that_sees_its_own_group_as_the_top(proc: Path) -> None:
    top = proc.parent / "sys"
    (proc / "mountinfo").write_text(
        f"30 25 0:26 /docker/x {top} rw - cgroup2 cgroup2 rw\n31 25 0:27 /docker/x {top}/user.slice rw - cgroup cgroup rw,pids\n"
    )
    (proc / "cgroup").write_text("3:pids:/docker/x\n0::/docker/x\n")
    found = {each.unified: each for each in hierarchies.find(proc)}
    assert found[True].directory == top
    assert (found[False].directory, found[False].controllers) == (top / "user.slice", ("pids",))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    """Files come into being when they are written, as those of a cgroup are there from its first moment."""

    def write(file: Path, text: str) -> bool:
        file.write_text(text)
        return True

    def rmdir(directory: Path) -> bool:
        if any(entry.is_dir() for entry in directory.iterdir()):
            return False
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()
        return True

    monkeypatch.setattr(cgroups, "write", write)
    monkeypatch.setattr(cgroups, "_remove", lambda directory: not directory.exists() or rmdir(directory))
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def made(
    tree: Path, controllers: tuple[str, ...] = ("memory", "cpu", "pids")
) -> tuple[cgroups.Cgroups, Path]:
    found = [Hierarchy(tree, controllers, unified=True)]
    ours = cgroups.make("lab", tree.parent / "record", found)
    (own,) = tree.iterdir()
    return ours, own


def test_a_pod_and_its_containers(tree: Path) -> None:
    ours, own = made(tree)
    assert own.name.startswith("stockade-lab-")
    assert int((own / "memory.max").read_text()) > 0
    assert (own / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    first, second = ours.enter("pod-1", "a", LIMITED), ours.enter("pod-1", "b", {})
    assert (own / "pod-1/pids.max").read_text() == "4096"
    assert (own / "pod-1/a/memory.max").read_text() == str(64 << 20)
    assert (own / "pod-1/a/memory.oom.group").read_text() == "1"
    assert (own / "pod-1/a/cpu.max").read_text() == "50000 100000"
    assert not (own / "pod-1/b/memory.max").exists()
    assert list(first.tasks) == [str(own / "pod-1/a/cgroup.procs")]
    assert (first.problem, second.problem, ours.problem) == ("", "", "")
    (own / "pod-1/a/memory.events").write_text("oom_kill 1\n")
    assert first.leave(137) == "OOMKilled"
    assert (own / "pod-1").exists()
    assert second.leave(137) == "", "killed, by somebody else"
    assert not (own / "pod-1").exists()


def test_a_controller_that_is_not_given(tree: Path) -> None:
    ours, _ = made(tree, ("memory", "pids"))
    said = ours.enter("p", "a", LIMITED).problem
    assert said == "limits of cpu are not applied: no cgroup may be written here for cpu"
    assert ours.enter("p", "b", {"resources": {"limits": {"memory": "1Gi"}}}).problem == ""
    assert read_record(tree.parent / "record").problem == "no cgroup may be written here for cpu"


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    ours = cgroups.make("lab", tmp_path / "record", [])
    entered = ours.enter("p", "a", LIMITED)
    assert list(entered.tasks) == []
    assert entered.problem == "limits of memory and cpu are not applied: no cgroup may be written here"
    assert entered.leave(0) == ""


def test_a_limit_that_is_no_quantity(tree: Path) -> None:
    ours, _ = made(tree)
    with pytest.raises(CgroupError, match=r"resources.limits of container a: 'much' is no quantity"):
        ours.enter("p", "a", {"resources": {"limits": {"memory": "much"}}})


def test_what_a_crash_left_is_removed_and_nothing_else(tree: Path) -> None:
    ours, own = made(tree)
    ours.enter("p", "a", LIMITED)
    record = tree.parent / "record"
    assert record.stat().st_mode & 0o777 == 0o600
    other = tree / "other"
    other.mkdir()
    record.write_text(f'{{"directories": ["{own}", "{other}"]}}')
    remove_recorded(record)
    assert list(tree.iterdir()) == [other]
    assert not record.exists()
