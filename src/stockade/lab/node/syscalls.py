"""Linux system calls that the standard library of Python 3.11 lacks, with errors that name what failed.

Comes in: plain values. Goes out: nothing, or SyscallError (an OSError). Called by the zygote, the container set-up and the
daemon's start. Imports stay light: the zygote stays resident and is forked once per process of the lab.
See unshare(2), setns(2), mount(2), pivot_root(2), prctl(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOATIME: Final = 0x400
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 2

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_PIVOT_ROOT: Final = {
    "x86_64": 155,
    "aarch64": 41,
    "riscv64": 41,
    "ppc64le": 203,
    "s390x": 217,
    "armv7l": 218,
}
# Numbers from 424 on are the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2 = 428, 429, 437
_OPEN_TREE_CLONE, _AT_EMPTY_PATH = 0x1, 0x1000
_BOTH_BY_DESCRIPTOR: Final = 0x4 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
_CAPABILITY_VERSION_3: Final = 0x20080522
_FIRST_USER_NAMESPACE: Final = 0xEFFFFFFD

_libc = ctypes.CDLL(None, use_errno=True)


class SyscallError(OSError):
    """A system call failed; ``str()`` is a sentence for people."""

    def __init__(self, number: int, call: str, subject: str = "") -> None:
        super().__init__(number, os.strerror(number))
        self.call = call
        self.subject = subject

    def __str__(self) -> str:
        subject = f" {self.subject}" if self.subject else ""
        return f"{self.call}{subject}: {os.strerror(self.errno or 0)}"


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _check(result: int, call: str, subject: str = "") -> None:
    if result < 0:
        raise SyscallError(ctypes.get_errno(), call, subject)


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags``; CLONE_NEWPID takes effect for the next child."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare", f"{flags:#x}")


def setns(fd: int, kind: int = 0) -> None:
    """Join the namespace that ``fd`` refers to (for CLONE_NEWPID: the next child does)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns", f"{kind:#x}")


def join(pid: int, name: str, kind: int) -> None:
    """``setns`` to the namespace ``name`` (a file of /proc/PID/ns) of a process. Raises OSError."""
    namespace = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, kind)
    finally:
        os.close(namespace)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind) or None,
        ctypes.c_ulong(flags),
        os.fsencode(data) or None,
    )
    _check(result, "mount", f"{source or kind} on {target}")


def bind(source: str, target: str, flags: int = 0) -> None:
    """Bind mount; flags such as MS_RDONLY need a second call, which the kernel ignores in the first. In a user namespace that call may
    not take away what the host's mount has."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if flags:
        held = os.statvfs(target).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("", target, flags=MS_REMOUNT | MS_BIND | flags | held)


def in_user_namespace() -> bool:
    """One that is not the machine's own, whose number is fixed (include/linux/proc_ns.h)."""
    try:
        return os.stat("/proc/self/ns/user").st_ino != _FIRST_USER_NAMESPACE  # noqa: PTH116 - pathlib stays out of pid 1
    except OSError:  # a kernel without them
        return False


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2): ``resolve`` bounds where links on the way may lead. Raises OSError of the usual kinds (FileNotFoundError …)."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    result = _libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(directory),
        os.fsencode(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(result)


def open_tree(fd: int) -> int:
    """What ``fd`` (O_PATH) refers to as a mount of its own, attached nowhere yet: open_tree(2)."""
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC
    result = _libc.syscall(ctypes.c_long(_OPEN_TREE), ctypes.c_int(fd), b"", ctypes.c_uint(flags))
    _check(result, "open_tree")
    return int(result)


def move_mount(tree: int, target: int) -> None:
    """Attach what ``open_tree`` gave at the place that ``target`` (O_PATH) refers to."""
    result = _libc.syscall(
        ctypes.c_long(_MOVE_MOUNT),
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(target),
        b"",
        ctypes.c_uint(_BOTH_BY_DESCRIPTOR),
    )
    _check(result, "move_mount")


def rename(name: str) -> None:
    """What others see of this process's command line, from now on."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - pathlib stays out of pid 1; no codec can be imported in a container
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc_pid_stat(5), fields 48 and 49
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name.encode(), min(len(name), end - start - 1))
    set_name(name)


def make_private() -> None:
    """What is mounted from now on in this mount namespace stays in it."""
    mount("", "/", flags=MS_REC | MS_PRIVATE)


def mount_proc() -> None:
    """A /proc of the current PID namespace; the zygote needs it (``/proc/PID/ns``)."""
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), "umount", target)


def pivot_root(new_root: str, put_old: str) -> None:
    machine = os.uname().machine
    number = _PIVOT_ROOT.get(machine)
    if number is None:
        raise SyscallError(38, "pivot_root", f"(not known for {machine})")
    result = _libc.syscall(ctypes.c_long(number), os.fsencode(new_root), os.fsencode(put_old))
    _check(result, "pivot_root", new_root)


def sethostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname", name)


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    arguments = [ctypes.c_ulong(item) for item in (value, third, 0, 0)]
    _check(_libc.prctl(ctypes.c_int(option), *arguments), "prctl", str(option))


def set_name(name: str) -> None:
    """What ps(1) shows of this thread as its command."""
    _check(_libc.prctl(PR_SET_NAME, name.encode()), "prctl", "PR_SET_NAME")


def capset(mask: int) -> None:
    """Effective and permitted become ``mask``; inheritable becomes empty."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (_CapData * 2)(_CapData(low, low, 0), _CapData(high, high, 0))
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset", f"{mask:#x}")
