"""Where a lab keeps its files on the host, and the lock that says whether it runs.

``$XDG_STATE_HOME/stockade/labs/NAME/`` (0700): kubeconfig, log, database, pods' logs, sockets. ``…/stockade/images`` is shared by all labs.
Whoever may write there is root in the next lab: from ``stockade`` down every directory must be the user's own, a real directory, and 0700.
The running lab's first process holds an exclusive lock on ``lock``: a name is taken exactly as long as that process lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time
from pathlib import Path

import msgspec

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
SOCKET_PATH = 107  # bytes of sun_path without its end
_LOOKS, _LOOK = 10, 0.01  # seconds


class UnsafeStateError(Exception):
    """The state directory is somebody else's, or open to others; the text says what to do."""


def state_root() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "stockade"


class LabPaths(msgspec.Struct, frozen=True):
    """The files of one lab; ``directory`` is 0700, so that nothing below it is anybody else's."""

    name: str
    directory: Path
    root: Path

    @classmethod
    def of(cls, name: str, root: Path | None = None) -> LabPaths:
        """Raises ValueError when ``name`` cannot be a lab's name (it becomes a directory and a hostname)."""
        if not NAME.fullmatch(name):
            message = f"lab name {name!r} must be at most 32 lower-case letters, digits and '-', e.g. 'lab'"
            raise ValueError(message)
        root = root or state_root()
        return cls(name, root / "labs" / name, root)

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def starting(self) -> Path:
        """Locked while ``up`` works on this name; outside the directory, which ``up`` makes anew."""
        return self.root / "starting" / self.name

    @property
    def pid(self) -> Path:
        """Process id (of the host) of the lab's first process."""
        return self.directory / "pid"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def kubeconfig_of(self, user: str, *, certificate: bool = False) -> Path:
        """The admin's, with a token, is ``kubeconfig``."""
        name = "kubeconfig" if user == "admin" else f"{user}.kubeconfig"
        return self.directory / (f"{name}.certificate" if certificate else name)

    @property
    def agent_kubeconfig(self) -> Path:
        return self.directory / "agent.kubeconfig"

    def gate(self, node: int) -> Path:
        """The Unix socket of a node's agent, on which the node waits for a pod's rules. Short: see ``fits_sockets``."""
        return self.directory / f"gate{node}"

    def health(self, node: int) -> Path:
        """The Unix socket on which a node's agent says how it is."""
        return self.directory / f"ask{node}"

    @property
    def fits_sockets(self) -> bool:
        """Whether the kernel takes the paths of this lab's sockets, of however many nodes."""
        return len(os.fsencode(self.gate(99))) <= SOCKET_PATH

    @property
    def log(self) -> Path:
        return self.directory / "daemon.log"

    def agent_log(self, node: int) -> Path:
        return self.directory / f"agent-{node}.log"

    @property
    def nodes(self) -> Path:
        """What ``stockade status`` says about the nodes: the ``NodePlan`` of each, as JSON."""
        return self.directory / "nodes.json"

    @property
    def settings(self) -> Path:
        """How the lab was started (``Settings``); with it and the database ``up`` restores the lab after a crash."""
        return self.directory / "lab.json"

    @property
    def database(self) -> Path:
        return self.directory / "objects.db"

    @property
    def pods(self) -> Path:
        return self.directory / "pods"

    @property
    def outside(self) -> Path:
        """The inode of the simulated Internet's network namespace, by which ``stockade outside`` finds it."""
        return self.directory / "outside"

    @property
    def cgroups(self) -> Path:
        """Which cgroups the lab has made (``node.cgroups.Record``)."""
        return self.directory / "cgroups.json"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    def make(self) -> None:
        """Raises UnsafeStateError."""
        self.make_parent()
        for directory in (self.directory, self.pods, self.pki):
            _make_own(directory)

    def make_parent(self) -> None:
        """Where the labs' directories and start locks are. Raises UnsafeStateError."""
        make_state_root()
        for directory in (self.directory.parent, self.starting.parent):
            _make_own(directory)

    def check(self) -> None:
        """What is there already, before its lock, its process id or its credentials are believed. Raises UnsafeStateError."""
        for directory in (self.root, self.directory.parent, self.directory):
            if os.path.lexists(directory):
                _refuse_foreign(directory)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def sweep(self) -> None:
        """What a crash leaves in the directory and nobody reads again: sockets, the dead process's id."""
        for entry in self.directory.iterdir():
            if entry.is_socket() or entry == self.pid:
                entry.unlink()

    def forget(self) -> None:
        """The objects, for good; the logs stay for reading."""
        for file in (self.settings, self.database, *self.directory.glob(f"{self.database.name}-*")):
            file.unlink(missing_ok=True)


def make_state_root() -> Path:
    """The state directory, made when it is not there yet. Raises UnsafeStateError when others could change it."""
    root = state_root()
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = root.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        message = f"{root.parent} is writable by everybody; choose another XDG_STATE_HOME"
        raise UnsafeStateError(message)
    _make_own(root)
    return root


def _make_own(directory: Path) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    _refuse_foreign(directory)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        directory.chmod(0o700)


def _refuse_foreign(directory: Path) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        message = (
            f"{directory} is no directory of its own (a link?); remove it, or choose another XDG_STATE_HOME"
        )
        raise UnsafeStateError(message)
    if status.st_uid != os.geteuid():
        message = f"{directory} belongs to user {status.st_uid}; remove it, or choose another XDG_STATE_HOME"
        raise UnsafeStateError(message)


def write_private(path: Path, content: str) -> None:
    """Create or replace ``path`` with mode 0600 from its first byte on."""
    fresh = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    fresh.replace(path)


def try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock, or None when another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)  # its holder removed it between our two calls


def take_lock(path: Path) -> int | None:
    """As ``try_lock``, for who means to keep it: others that only look (``is_running``) hold it for a moment."""
    for _ in range(_LOOKS):
        descriptor = try_lock(path)
        if descriptor is not None:
            return descriptor
        time.sleep(_LOOK)
    return None


def remove_lock(path: Path) -> None:
    """Take the file away, unless somebody holds the lock."""
    if path.exists() and (descriptor := try_lock(path)) is not None:
        path.unlink()
        os.close(descriptor)


def is_running(paths: LabPaths) -> bool:
    if not paths.lock.exists():
        return False
    descriptor = try_lock(paths.lock)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def wait_unlocked(paths: LabPaths, seconds: float) -> bool:
    """True as soon as no process holds the lab's lock."""
    deadline = time.monotonic() + seconds
    while is_running(paths):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def known_labs() -> list[LabPaths]:
    """Every lab of this user that left something on disk, running or not, by name."""
    labs = state_root() / "labs"
    with contextlib.suppress(FileNotFoundError):
        names = sorted(entry.name for entry in labs.iterdir() if NAME.fullmatch(entry.name))
        return [LabPaths.of(name) for name in names]
    return []


def running_labs() -> list[str]:
    return [paths.name for paths in known_labs() if is_running(paths)]
