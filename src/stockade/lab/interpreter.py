"""The interpreter that runs a lab, in a form that no container can change.

In: a program's path. Out: a descriptor to execute it by (``/proc/self/fd/N``). Called by ``stockade up``.

A process that enters a container is, until it executes the container's command, this interpreter, and a script whose first line is
``#!/proc/self/exe`` makes it stay so: ``/proc/PID/exe`` then leads the container's root out to the host's file (CVE-2019-5736). Behind
a read-only mount of its own that file can be neither written nor given other modes; runc does the same for itself.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

_OPEN_TREE: Final = 428  # these two have the same number on every architecture
_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_MOUNT_ATTR_RDONLY: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


def open_read_only(program: str) -> int:
    """A descriptor of a detached read-only mount of the file; of a sealed copy where the kernel cannot (before Linux 5.12).
    Raises OSError."""
    path = os.path.realpath(program)
    fd = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if fd >= 0:
        attributes = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
        size = ctypes.sizeof(attributes)
        if _libc.syscall(_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size) == 0:
            return int(fd)
        os.close(fd)
    return _sealed_copy(Path(path))


def _sealed_copy(path: Path) -> int:
    fd = os.memfd_create(path.name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with path.open("rb") as source, os.fdopen(os.dup(fd), "wb") as target:
        shutil.copyfileobj(source, target)
    fcntl.fcntl(
        fd,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
    )
    return fd
