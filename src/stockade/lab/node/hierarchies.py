"""Where on this machine cgroups can be made: for each controller the directory under which this process may have groups of its own.

In: /proc/self/mountinfo and /proc/self/cgroup, the cgroup file systems. Out: ``Hierarchy`` values. Called by ``cgroups`` when a lab starts.
Rules: cgroups(7). Version 1: beneath the group that we are in. Version 2: a group that holds processes cannot have groups with controllers
beside them, so it is the nearest one above us that may be written and gives its children the controllers (systemd's app.slice of a user).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from stockade.lab.node.limits import CONTROLLERS

V1, V2 = "cgroup", "cgroup2"


class Hierarchy(msgspec.Struct, frozen=True):
    """``directory`` is somebody else's: groups are made below it."""

    directory: Path
    controllers: tuple[str, ...]
    unified: bool


class _Mount(msgspec.Struct, frozen=True):
    root: str
    point: Path
    kind: str
    options: tuple[str, ...]


def find(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """None when there is nothing that may be written."""
    own = list(_own_groups(proc))
    found = []
    for mount in _mounts(proc):
        if mount.kind == V1:
            controllers = tuple(name for name in CONTROLLERS if name in mount.options)
            place = _place(mount, next((path for names, path in own if set(names) & set(controllers)), "/"))
            if controllers and _may_write(place):
                found.append(Hierarchy(place, controllers, unified=False))
        else:
            place = _place(mount, next((path for names, path in own if not any(names)), "/"))
            if (above := _giving(place, mount.point)) is not None:
                found.append(above)
    return found


def _mounts(proc: Path) -> Iterator[_Mount]:
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(maxsplit=2)
        if kind in (V1, V2):
            yield _Mount(fields[3], Path(fields[4]), kind, tuple(options.split(",")))


def _own_groups(proc: Path) -> Iterator[tuple[list[str], str]]:
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        yield controllers.split(","), path


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _place(mount: _Mount, group: str) -> Path:
    """Where a group is seen: a container may see its own as the top, or only what is above."""
    inside = group.removeprefix(mount.root) if mount.root != "/" else group
    place = mount.point / inside.lstrip("/")
    return place if ".." not in place.parts and place.is_dir() else mount.point


def _may_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK)


def _giving(own: Path, top: Path) -> Hierarchy | None:
    above = [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    usable = [place for place in above if _may_write(place) and _may_write(place / "cgroup.procs")]
    for place in usable:
        if given := _named(place / "cgroup.subtree_control", CONTROLLERS):
            return Hierarchy(place, given, unified=True)
    for place in usable:
        if given := _enable(place):
            return Hierarchy(place, given, unified=True)
    return None


def _enable(place: Path) -> tuple[str, ...]:
    """A group that holds no processes, or the topmost of the machine, can be told to give."""
    given = _named(place / "cgroup.controllers", CONTROLLERS)
    return given if given and write(place / "cgroup.subtree_control", enabling(given)) else ()


def enabling(controllers: Iterable[str]) -> str:
    return " ".join(f"+{name}" for name in controllers)


def _named(file: Path, wanted: Iterable[str]) -> tuple[str, ...]:
    held = " ".join(_lines(file)).split()
    return tuple(name for name in wanted if name in held)


def write(file: Path, text: str) -> bool:
    """Never makes the file: a cgroup file is there, or the kernel does not know it."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
