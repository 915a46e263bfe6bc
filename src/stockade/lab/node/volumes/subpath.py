"""The part of a volume that a container mounts (``subPath``), made where it is missing.

In: a volume's directory, whose content may be the pod's own work, and a relative path. Out: nothing, or SubpathError. Links are followed as far
as they stay inside the volume; the kernel sees to that (openat2(2), RESOLVE_BENEATH), at each step, so that nothing can be swapped between a look
and its use (CVE-2017-1002101, CVE-2021-25741). The mount itself is made the same way by ``sandbox``. Called by ``pod_volumes``.
"""

from __future__ import annotations

import os

from stockade.lab.node.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS


class SubpathError(Exception):
    """The subPath cannot be had."""


def ensure(directory: str, path: str) -> None:
    """Raises SubpathError: it leads outside, or through a file."""
    if path.startswith("/") or ".." in path.split("/"):
        raise SubpathError(f"subPath {path!r} must be a relative path without '..'")
    volume = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _ensure(volume, path)
    except OSError as error:
        raise SubpathError(f"subPath {path!r}: {(error.strerror or str(error)).lower()}") from error
    finally:
        os.close(volume)


def _ensure(volume: int, path: str) -> None:
    try:
        os.close(openat2(volume, path, os.O_PATH, _INSIDE))
    except FileNotFoundError:
        pass
    else:
        return
    parts = [part for part in path.split("/") if part not in ("", ".")]
    place = os.dup(volume)
    for number, part in enumerate(parts, 1):
        here = "/".join(parts[:number])
        try:
            inner = _step(volume, place, here, part)
        finally:
            os.close(place)
        place = inner
    os.close(place)


def _step(volume: int, place: int, here: str, name: str) -> int:
    """The directory ``here``, made in ``place`` when it is missing, with the rights of the one above."""
    try:
        return openat2(volume, here, os.O_PATH | os.O_DIRECTORY, _INSIDE)
    except FileNotFoundError:
        above = os.fstat(place)
        os.mkdir(name, 0o700, dir_fd=place)
        made = openat2(place, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, _INSIDE)
        try:
            os.fchown(made, above.st_uid, above.st_gid)
            os.fchmod(made, above.st_mode & 0o7777)
            return openat2(volume, here, os.O_PATH | os.O_DIRECTORY, _INSIDE)
        finally:
            os.close(made)
