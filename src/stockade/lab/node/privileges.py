"""What a container's processes may do: the default capability set of container runtimes, less device nodes.

Comes in: capability names of a container's securityContext. Goes out: a bit mask; ``drop`` applies it to the calling process.
Called by the kubelet part (names → mask) and in a freshly forked child (drop). Names and numbers: capabilities(7); the default
set is the one of containerd and Docker without MKNOD.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final

from stockade.lab.node import seccomp, syscalls

NUMBERS: Final = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
# NET_ADMIN is for the asking. It reaches the pod's own network namespace and, by namespace ids, the links of the node's
# (never the host's): docs/security.md.
DEFAULT: Final = frozenset(NUMBERS) - {"NET_ADMIN"}
# Asked for by debuggers (`kubectl debug`), which do a good part of their work without it; with it a container could look into
# a process that is only about to enter it and still has the rights of the lab.
_WITHHELD: Final = frozenset({"SYS_PTRACE"})
_LAST_CAPABILITY: Final = 40


class CapabilityError(Exception):
    """A container asks for a capability that the lab does not give."""


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def mask(add: Iterable[str] = (), drop: Iterable[str] = ()) -> int:
    """securityContext.capabilities to a bit mask; ``drop: [ALL]`` comes before ``add``, as in the runtimes."""
    dropped = {_plain(name) for name in drop}
    wanted = set() if "ALL" in dropped else set(DEFAULT) - dropped
    for name in map(_plain, add):
        if name in _WITHHELD:
            continue
        if name not in NUMBERS:
            known = ", ".join(sorted(NUMBERS))
            raise CapabilityError(f"capability {name} is not given in the lab; it gives: {known}")
        wanted.add(name)
    return sum(1 << NUMBERS[name] for name in wanted)


def withheld(add: Iterable[str]) -> list[str]:
    """Of the capabilities asked for those that a container starts without; any other unknown one it does not start without."""
    return sorted(_WITHHELD.intersection(map(_plain, add)))


def _set_groups(groups: Sequence[int]) -> None:
    """A user namespace that maps one group keeps what its maker had, so that nobody sheds a group that is to deny something
    (user_namespaces(7), /proc/PID/setgroups)."""
    try:
        os.setgroups(list(groups))
    except PermissionError:
        # Binary: no codec can be imported in a container.
        with open("/proc/self/setgroups", "rb") as file:  # noqa: PTH123 - pathlib stays out of pid 1
            if groups or file.read().strip() != b"deny":
                raise


def drop(capabilities: int, uid: int, gid: int, groups: Sequence[int] = ()) -> None:
    """Irrevocably, for this process and its children. Bounding set first: that needs SETPCAP."""
    for number in range(_LAST_CAPABILITY + 1):
        if not capabilities >> number & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
            except syscalls.SyscallError:
                break  # an older kernel knows fewer capabilities
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    _set_groups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.capset(capabilities if uid == 0 else 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install()
