# ruff: noqa: PTH103, PTH112, PTH113, PTH116, PTH118
# pathlib stays out of pid 1, which is forked for each process of the lab.
"""From fork to exec: what a new process of the lab does before it is the user's command. Never returns.

A program of the lab itself (``lab.dns.replica``) is not executed but called: it runs in this fork of pid 1, isolated and with its
privileges dropped like any other, and costs neither a start-up nor the memory of an interpreter.

Comes in: a ``wire.SpawnRequest`` and the descriptors that came with it, in a child that the zygote just forked. Goes out: the
command runs, or the reason why not is written to the ``status`` socket and the process ends with 128 (as container runtimes do for
a start error). Texts are those of runc, which users know from ``kubectl describe``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import termios
from typing import Any, Final, NoReturn

from stockade.lab.node import preloaded, privileges, sandbox, syscalls, wire

START_ERROR: Final = 128
_FIRST_FREE_FD: Final = 3
_FD_LIMIT: Final = 65536
_ISOLATED: Final = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWCGROUP
)
# Order matters: the mount namespace last, because /proc of the own one is needed until then.
_JOINED: Final = (
    ("net", syscalls.CLONE_NEWNET),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("uts", syscalls.CLONE_NEWUTS),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
    ("mnt", syscalls.CLONE_NEWNS),
)


class _CommandError(Exception):
    """The command cannot be executed; ``not_found`` tells a typing error from everything else."""

    def __init__(self, text: str, *, not_found: bool = False) -> None:
        super().__init__(text)
        self.not_found = not_found


def run(request: wire.SpawnRequest, fds: dict[str, int]) -> NoReturn:
    """Called in the child, right after fork."""
    status = fcntl.fcntl(fds[wire.STATUS], fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    try:
        _reset_signals()
        # Until exec nobody in the container may look into (or at the binary of) this more powerful process.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        own_binary = os.stat("/proc/self/exe")
        if request["kind"] != "plain":
            os.umask(0o022)  # the lab's own is 077; what is made from here on is the container's
        program = _program(request)
        _isolate(request, fds)
        if request["kind"] == "pause":
            _pause(status)
        os.setsid()
        _standard_streams(request, fds, status)
        feed = fcntl.fcntl(fds[wire.FEED], fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) if program else status
        _close_all_but(status, feed)
        prepared = program.opened() if program else None
        if request["kind"] == "container":
            # Runtimes make a missing working directory, as root.
            os.makedirs(request["cwd"], 0o755, exist_ok=True)
            sandbox.seal(request["root"])
        if request["kind"] != "plain":
            privileges.drop(request["capabilities"], request["uid"], request["gid"], request["groups"])
        os.chdir(request["cwd"])
        if request["kind"] == "exec":
            _run_preloaded(request["argv"], status)
        if program and prepared:
            os.close(status)  # it runs
            os._exit(program.run(socket.socket(fileno=feed), prepared))
        _execute(request, own_binary)
    except _CommandError as error:
        _report(status, str(error), not_found=error.not_found)
    except Exception as error:  # noqa: BLE001 - the last door before the process ends
        _report(status, str(error) or type(error).__name__, not_found=False)
    os._exit(START_ERROR)


def _program(request: wire.SpawnRequest) -> Any:
    """Imported while the host's files can still be read, and in the child: pid 1 stays small."""
    if request["kind"] != "container" or not request["program"]:
        return None
    from stockade.lab.dns import replica  # noqa: PLC0415

    return replica


def _close_all_but(*kept: int) -> None:
    first = _FIRST_FREE_FD
    for fd in sorted(set(kept)):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _FD_LIMIT)


def _report(status: int, text: str, *, not_found: bool) -> None:
    message = json.dumps({"error": text, "not_found": not_found}).encode()
    with contextlib.suppress(OSError):
        os.write(status, message)


def _reset_signals() -> None:
    """Python ignores SIGPIPE, and an ignored signal stays ignored over exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _isolate(request: wire.SpawnRequest, fds: dict[str, int]) -> None:
    for path in request.get("cgroups", ()):
        _enter_group(path)
    if wire.NETNS in fds:
        syscalls.setns(fds[wire.NETNS], syscalls.CLONE_NEWNET)
    if request["kind"] == "container":
        syscalls.unshare(_ISOLATED)
        sandbox.enter(request["root"])
        syscalls.sethostname(request["hostname"])
    elif request["kind"] == "pause":
        syscalls.unshare(_ISOLATED)
        sandbox.enter_nothing(request["root"]["mountpoint"])
    elif request["kind"] == "exec":
        opened = [
            (os.open(f"/proc/{request['init']}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
            for name, kind in _JOINED
        ]
        for fd, kind in opened:
            syscalls.setns(fd, kind)
        os.chdir("/")


def _pause(status: int) -> NoReturn:
    """Lives on as it is, with nothing to see, nothing open and no rights. The kernel reaps what its namespace's orphans leave."""
    os.closerange(0, status)
    os.closerange(status + 1, _FD_LIMIT)
    syscalls.rename("pause")
    privileges.drop(0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.close(status)
    while True:
        signal.pause()


def _enter_group(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def _standard_streams(request: wire.SpawnRequest, fds: dict[str, int], status: int) -> None:
    if request["tty"]:
        # From the container's own devpts, so that tty(1) and /dev/pts inside agree.
        master, slave = os.openpty()
        with socket.socket(fileno=os.dup(status)) as channel:
            socket.send_fds(channel, [b'{"tty": true}'], [master])
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        os.fchown(slave, request["uid"], -1)
        wanted = [slave, slave, slave]
    else:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        wanted = [fds.get(name, null) for name in (wire.STDIN, wire.STDOUT, wire.STDERR)]
    # Passed descriptors may themselves be 0-2 (pid 1 may start without): move them out of the way first.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) for fd in wanted]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)
        if request["uid"] != 0 and stat.S_ISFIFO(os.fstat(target).st_mode):
            os.fchown(target, request["uid"], -1)  # /dev/stdout of a user who is not root


def _run_preloaded(argv: list[str], status: int) -> None:
    """Ends the process with the program's status; returns when there is no such program."""
    if preloaded.is_program(argv):
        os.close(status)  # it runs
        code = 1
        try:
            code = preloaded.run(argv)
        finally:  # whatever happens, no caller's frame goes on
            os._exit(code)


def _execute(request: wire.SpawnRequest, own_binary: os.stat_result) -> NoReturn:
    name = request["argv"][0]
    path = _look_up(name, request["env"].get("PATH", ""))
    try:
        found = os.stat(path)
        if (found.st_dev, found.st_ino) == (own_binary.st_dev, own_binary.st_ino) and request[
            "kind"
        ] != "plain":
            raise _CommandError(f'exec: "{name}": permission denied')  # /proc/self/exe of the runtime
        os.execve(path, request["argv"], request["env"])  # noqa: S606 - no shell wanted
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise _CommandError(
                f'exec: "{name}": stat {path}: no such file or directory', not_found=True
            ) from error
        text = "exec format error" if error.errno == errno.ENOEXEC else os.strerror(error.errno or 0).lower()
        raise _CommandError(f'exec: "{name}": {text}') from error


def _look_up(name: str, search_path: str) -> str:
    """Where execvp would find it, without executing anything on the way."""
    if not name:
        raise _CommandError('exec: "": executable file not found in $PATH', not_found=True)
    if "/" in name:
        if os.path.isdir(name):
            raise _CommandError(f'exec: "{name}": is a directory')
        return name
    for directory in search_path.split(":"):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise _CommandError(f'exec: "{name}": executable file not found in $PATH', not_found=True)
