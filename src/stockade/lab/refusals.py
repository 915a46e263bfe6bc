"""Why there can be no lab without root here, and what to do: one line for the user.

In: the error of a system call of ``lab.user_namespace`` or ``lab.daemon``, and what /proc says about the machine. Out: text. Called when a
lab cannot start. Where the settings come from: user_namespaces(7), Debian's and Ubuntu's kernels, container runtimes' defaults.
"""

from __future__ import annotations

import errno
from typing import Final

from stockade.lab.user_namespace import read_text

_OR_ROOT: Final = "or run it as root"
_UNCONFINED: Final = "start that container with --security-opt seccomp=unconfined (in Kubernetes seccompProfile type Unconfined), or with --privileged"
_APPARMOR: Final = (
    "AppArmor leaves them without rights (kernel.apparmor_restrict_unprivileged_userns); run: sudo sysctl "
    f"kernel.apparmor_restrict_unprivileged_userns=0, or give this Python an AppArmor profile with 'userns,'; {_OR_ROOT}"
)
_NEEDS: Final = "a lab without root needs user namespaces, and"
_NEEDS_RIGHTS: Final = "a lab without root needs a user namespace with all its rights, and"


def no_namespace(error: OSError, proc: str = "/proc") -> str:
    """The kernel made none."""
    return f"{_NEEDS} {_why_none(error, proc)}"


def _why_none(error: OSError, proc: str) -> str:
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        most = read_text(f"{proc}/sys/user/max_user_namespaces").strip()
        return f"there may be only {most} (user.max_user_namespaces); run: sudo sysctl user.max_user_namespaces=15000; {_OR_ROOT}"
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return "this kernel has none (CONFIG_USER_NS); run it as root"
    if read_text(f"{proc}/sys/kernel/unprivileged_userns_clone").strip() == "0":
        return f"kernel.unprivileged_userns_clone forbids them; run: sudo sysctl kernel.unprivileged_userns_clone=1; {_OR_ROOT}"
    if _apparmor_restricts(proc):
        return _APPARMOR
    if _is_chroot(proc):
        return "Linux makes none in a chroot; run it on the machine itself or in a container"
    return _filter(proc, "forbids them") or f"this machine forbids them ({error}); {_OR_ROOT}"


def no_rights(error: OSError, *, uid: int, proc: str = "/proc") -> str:
    """There is one, but it cannot be used. ``uid``: of the caller, outside."""
    if _apparmor_restricts(proc):
        return f"{_NEEDS_RIGHTS} {_APPARMOR}"
    if filtered := _filter(proc, f"forbids that ({error})"):
        return f"{_NEEDS_RIGHTS} {filtered}"
    if uid == 0:
        return (
            f"{_NEEDS_RIGHTS} root of this container may not have one ({error}); start it with the capabilities "
            "SYS_ADMIN and NET_ADMIN, or with SETUID, SETGID and SETFCAP"
        )
    return f"{_NEEDS_RIGHTS} this machine forbids that ({error}); {_OR_ROOT}"


def no_proc(error: OSError) -> str:
    """mount(2) of a /proc of one's own: refused where the one that is there has parts covered."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return f"this machine does not let the lab make its namespaces: {error}"
    return (
        "the container that this runs in hides parts of /proc, and Linux then lets the lab have none of its own; start that "
        "container with --security-opt systempaths=unconfined (podman: unmask=ALL; Kubernetes: procMount Unmasked), or with --privileged"
    )


def _apparmor_restricts(proc: str) -> bool:
    return read_text(f"{proc}/sys/kernel/apparmor_restrict_unprivileged_userns").strip() == "1"


def _is_chroot(proc: str) -> bool:
    """No mount has its root at "/"."""
    lines = read_text(f"{proc}/self/mountinfo").splitlines()
    return bool(lines) and not any(line.split()[4] == "/" for line in lines)


def _filter(proc: str, does: str) -> str:
    if "\nSeccomp:\t2\n" not in read_text(f"{proc}/self/status"):
        return ""
    return f"a system call filter {does}, as containers have one; {_UNCONFINED}"
