"""The cgroups of a lab: one for all its pods, in it one for each pod, in it one for each container with limits.

In: what ``hierarchies`` found, containers' specs. Out: for each container a ``Group``: the files into which its processes write themselves,
and what became of it. Made by ``lab.cluster``; called by ``container``. Where there are none, pods run without limits and ``problem``
says why; ``stockade status`` and the pods' events tell it.

    version 1 (a directory for each controller)             version 2
    pids/…/stockade-LAB-x/POD                               …/stockade-LAB-x/POD/CONTAINER
    memory, cpu/…/stockade-LAB-x[/POD-CONTAINER if limited]
What is made is written down first (``record``): after a crash ``up`` or ``down`` removes it (``remove_recorded``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from stockade.lab.node import hierarchies, limits
from stockade.lab.node.hierarchies import Hierarchy, write
from stockade.lab.node.limits import CONTROLLERS, CPU, PIDS, Limits

JsonObject = dict[str, Any]
_PREFIX: Final = "stockade-"
_EXIT_OF_KILLED: Final = 128 + signal.SIGKILL
_PATIENCE: Final = 2.0  # seconds until the last process of a dead lab has left its group
_NONE: Final = "no cgroup may be written here"


class CgroupError(Exception):
    """A group cannot be made as asked; the text is for people."""


class Record(msgspec.Struct, frozen=True):
    """What a lab writes down of its cgroups. ``directories``: its own, for all pods; ``problem``: what cannot be limited, and why."""

    directories: list[str]
    problem: str = ""


class Group:
    """One container's. ``problem``: which of its limits do not hold, empty when all do."""

    def __init__(self, owner: Cgroups, pod: str, own: list[Path], tasks: Sequence[str], problem: str) -> None:
        self._owner = owner
        self._pod = pod
        self._own = own
        self.tasks = tasks
        self.problem = problem

    def leave(self, code: int) -> str:
        """All its processes have ended: the reason, where the kernel ended them for want of memory."""
        killed = code == _EXIT_OF_KILLED and any(map(_oom_kills, self._own))
        for directory in self._own:
            _remove(directory)
        self._owner.left(self._pod)
        return "OOMKilled" if killed else ""


class Cgroups:
    def __init__(self, places: Sequence[Hierarchy] = (), problem: str = _NONE) -> None:
        """``places``: the lab's own directories."""
        self._places = {name: place for place in reversed(places) for name in place.controllers}
        self._pods: dict[str, int] = {}
        self.problem = problem

    def enter(self, pod: str, container: str, spec: JsonObject) -> Group:
        """A group for a run of a container, made before its first process. Raises CgroupError."""
        try:
            wanted = limits.of_container(spec)
        except (ValueError, ArithmeticError) as error:
            raise CgroupError(f"resources.limits of container {container}: {error}") from error
        try:
            own, tasks = self._make(pod, container, wanted)
        except OSError as error:
            raise CgroupError(f"cgroup of container {container}: {error}") from error
        self._pods[pod] = self._pods.get(pod, 0) + 1
        lacking = [name for name in wanted.controllers if name not in self._places]
        problem = f"limits of {' and '.join(lacking)} are not applied: {self.problem}" if lacking else ""
        return Group(self, pod, own, tasks, problem)

    def _make(self, pod: str, container: str, wanted: Limits) -> tuple[list[Path], list[str]]:
        own: list[Path] = []
        tasks = []
        for place in dict.fromkeys(self._places.values()):
            if place.unified:
                directory = place.directory / pod / container
                self._pod_group(place, pod)
                own.append(_group(directory, place, wanted))
                tasks.append(str(directory / "cgroup.procs"))
            elif (joined := self._version_1(place, pod, container, wanted, own)) is not None:
                tasks.append(str(joined / "tasks"))
        return own, tasks

    def _version_1(
        self, place: Hierarchy, pod: str, container: str, wanted: Limits, own: list[Path]
    ) -> Path | None:
        """A directory of its own where something is limited; else the pod's, or that of all pods; for CPU alone none: all pods together
        would get no more of a busy machine than one process does."""
        directory = place.directory if place.controllers != (CPU,) else None
        if PIDS in place.controllers:
            directory = self._pod_group(place, pod)
        if set(wanted.controllers) & set(place.controllers):
            directory = _group((directory or place.directory) / f"{pod}-{container}", place, wanted)
            own.append(directory)
        return directory

    def _pod_group(self, place: Hierarchy, pod: str) -> Path:
        directory = _group(place.directory / pod, place, Limits(pids=limits.POD_PIDS))
        if place.unified:
            write(directory / "cgroup.subtree_control", hierarchies.enabling(place.controllers))
        return directory

    def left(self, pod: str) -> None:
        self._pods[pod] -= 1
        if not self._pods[pod]:
            del self._pods[pod]
            for place in dict.fromkeys(self._places.values()):
                _remove(place.directory / pod)


def make(lab: str, record: Path, found: Sequence[Hierarchy] | None = None) -> Cgroups:
    """The lab's own groups, with limits for all its pods together. Never fails: what cannot be had is told."""
    token = secrets.token_hex(4)
    above = hierarchies.find() if found is None else found
    own = [
        Hierarchy(place.directory / f"{_PREFIX}{lab}-{token}", place.controllers, place.unified)
        for place in above
    ]
    _write_record(record, own, "")
    usable = [place for place in own if _make_lab_group(place)]
    lacking = [
        name for name in CONTROLLERS if name not in {name for each in usable for name in each.controllers}
    ]
    problem = f"{_NONE} for {', '.join(lacking)}" if lacking and usable else _NONE if lacking else ""
    _write_record(record, usable, problem)
    return Cgroups(usable, problem)


def _make_lab_group(place: Hierarchy) -> bool:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        pids = int(Path("/proc/sys/kernel/threads-max").read_text())
        _group(place.directory, place, limits.of_lab(memory, pids))
        if place.unified:
            write(place.directory / "cgroup.subtree_control", hierarchies.enabling(place.controllers))
        return _can_enter(place)
    except OSError:
        _remove(place.directory)
        return False


def _can_enter(place: Hierarchy) -> bool:
    """Tried with a process of our own: who may make a group may not always move into it."""
    trial = _group(place.directory / "trial", place, Limits())
    child = os.fork()
    if child == 0:
        os._exit(0 if write(trial / ("cgroup.procs" if place.unified else "tasks"), "0") else 1)
    entered = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _remove(trial)
    if not entered:
        _remove(place.directory)
    return entered


def _group(directory: Path, place: Hierarchy, wanted: Limits) -> Path:
    """Raises OSError."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir()
    for controller in place.controllers:
        for setting in limits.settings(wanted, controller, unified=place.unified):
            if not write(directory / setting.file, setting.value) and not setting.optional:
                raise OSError(errno.EINVAL, f"{setting.file} does not take {setting.value}")
    return directory


def _oom_kills(directory: Path) -> int:
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            return limits.oom_kills((directory / name).read_text())
    return 0


def _write_record(record: Path, places: Iterable[Hierarchy], problem: str) -> None:
    directories = [str(place.directory) for place in places]
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Record(directories, problem)))


def read_record(record: Path) -> Record:
    try:
        return msgspec.json.decode(record.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return Record([])


def remove_recorded(record: Path) -> None:
    """The groups of a lab that has ended, or crashed. Its last processes may still be leaving."""
    deadline = time.monotonic() + _PATIENCE
    for directory in map(Path, read_record(record).directories):
        if not directory.name.startswith(_PREFIX):
            continue
        while not _remove_tree(directory) and time.monotonic() < deadline:
            time.sleep(0.01)
    record.unlink(missing_ok=True)


def _remove_tree(directory: Path) -> bool:
    """Groups end with their directories; nothing but directories can be removed of them."""
    for place, names, _ in os.walk(directory, topdown=False):
        for name in names:
            _remove(Path(place, name))
    return _remove(directory)


def _remove(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # a process is still in it
        return False
    return True
