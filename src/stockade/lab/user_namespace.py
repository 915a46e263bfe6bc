# ruff: noqa: PTH115, PTH118, PTH123
# pathlib stays out of pid 1, which imports this.
"""A user namespace: how a lab gets its namespaces, links and nftables rules without being root.

In: a process without CAP_SYS_ADMIN or CAP_NET_ADMIN (any user; root of an unprivileged container). Out: the same process as root of a
user namespace of its own, or UserNamespaceError with the setting that forbids it and what to do. Called by ``lab.daemon`` before it
leaves its other namespaces; ``join`` by commands that enter a running lab's; ``enter_with_ranges`` by those that handle files of its users.
Rules: user_namespaces(7), newuidmap(1), subuid(5). Which users there are then: ``node.identities``.

Maps, the widest that the machine allows: all that the caller itself has (root with CAP_SETUID), the caller as 0 and the ranges that
/etc/subuid and /etc/subgid give him (newuidmap, newgidmap), the caller as 0 alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from stockade.lab.node import syscalls

_SYS_ADMIN, _NET_ADMIN, _SETGID, _SETUID = 21, 12, 6, 7
_TOOL_DIRECTORIES: Final = ("/usr/bin", "/bin", "/usr/local/bin")


class UserNamespaceError(Exception):
    """There can be no lab without root here; the text says which setting forbids it and what to do."""


def is_privileged() -> bool:
    """CAP_SYS_ADMIN and CAP_NET_ADMIN are effective: no user namespace is needed."""
    return _has(_SYS_ADMIN) and _has(_NET_ADMIN)


def enter() -> None:
    """The calling process, which has one thread, becomes root of a new user namespace. Raises UserNamespaceError."""
    wide = _wide_maps()
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    mapper = os.fork()  # it stays outside, where the rights to map are
    if mapper == 0:
        os.close(go_write)
        _as_mapper(go_read, os.getppid(), wide)
    os.close(go_read)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(go_write, b"go")
    except OSError as error:
        from stockade.lab import refusals  # noqa: PLC0415 - pid 1 has no use for it

        raise UserNamespaceError(refusals.no_namespace(error)) from error
    finally:
        os.close(go_write)
        os.waitpid(mapper, 0)
    try:
        _map_oneself(OUTER_UID, OUTER_GID)
    except OSError as error:
        from stockade.lab import refusals  # noqa: PLC0415

        raise UserNamespaceError(refusals.no_rights(error, uid=OUTER_UID)) from error


def enter_with_ranges() -> bool:
    """Where more than one user can be mapped: as in a lab, so that files may belong to its users. False: nothing has changed."""
    if is_privileged() or not _wide_maps():
        return False
    with contextlib.suppress(UserNamespaceError):
        enter()
        return True
    return False


def join(pid: int) -> None:
    """Enter the user namespace of a process, unless the caller is in it or needs it not. Raises OSError."""
    if is_privileged() or os.readlink("/proc/self/ns/user") == os.readlink(f"/proc/{pid}/ns/user"):
        return
    syscalls.join(pid, "user", syscalls.CLONE_NEWUSER)


# Before: afterwards the kernel shows the overflow ids until they are mapped.
OUTER_UID, OUTER_GID = os.geteuid(), os.getegid()


def _map_oneself(uid: int, gid: int) -> None:
    """What the mapper left undone: the caller alone, as 0."""
    if not read_text("/proc/self/uid_map"):
        _write("/proc/self/uid_map", f"0 {uid} 1")
    if not read_text("/proc/self/gid_map"):
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"0 {gid} 1")


def _wide_maps() -> list[Callable[[int], None]]:
    """Ways to map more than the caller, each for the process id in need of it."""
    if os.geteuid() == 0 and _has(_SETUID) and _has(_SETGID):
        return [_map_all]
    uid, gid = os.geteuid(), os.getegid()
    tools = [
        (_tool("newuidmap"), uid, ranges("/etc/subuid", uid)),
        (_tool("newgidmap"), gid, ranges("/etc/subgid", uid)),
    ]
    if not all(path and found for path, _, found in tools):
        return []
    return [partial(_run_tool, *found) for found in tools]


def _as_mapper(go: int, pid: int, maps: list[Callable[[int], None]]) -> None:
    """Runs in the forked child; what fails is left to the parent to do its own way."""
    try:
        if os.read(go, 2):
            for map_one in maps:
                map_one(pid)
    except OSError:
        pass
    finally:
        os._exit(0)


def _map_all(pid: int) -> None:
    """Every id that the caller has, as itself."""
    for name in ("uid_map", "gid_map"):
        starts = [line.split() for line in read_text(f"/proc/self/{name}").splitlines()]
        _write(f"/proc/{pid}/{name}", "".join(f"{first} {first} {count}\n" for first, _, count in starts))


def _run_tool(tool: str, own: int, found: list[tuple[int, int]], pid: int) -> None:
    arguments, inside = [tool, str(pid), "0", str(own), "1"], 1
    for first, count in found:
        arguments += [str(inside), str(first), str(count)]
        inside += count
    os.waitpid(os.posix_spawn(tool, arguments, {}), 0)


def ranges(file: str, uid: int) -> list[tuple[int, int]]:
    """(first, count) of the ids that ``file`` gives to the user, by name or number."""
    names = {str(uid)}
    for line in read_text("/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            names.add(fields[0])
    found = []
    for line in read_text(file).splitlines():
        name, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if name in names and first.isdecimal() and count.isdecimal() and int(count):
            found.append((int(first), int(count)))
    return found


def _tool(name: str) -> str:
    paths = (os.path.join(directory, name) for directory in _TOOL_DIRECTORIES)
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def _has(capability: int) -> bool:
    for line in read_text("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return os.geteuid() == 0


def read_text(path: str) -> str:
    """Empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
