"""A root file system from a directory or a tar file, copied so that nothing of it can reach outside; and the rules of what a member may do.

In: a path that the user names. Out: a directory. Called by the catalog for ``stockade image load``, the rules by ``layers`` too. Device nodes, sockets and
pipes are left out (a container gets its own /dev); absolute links are kept, they are resolved inside the container. What else is mounted below a
directory is no part of it, as for ``docker export``: the /proc of a root file system that somebody works in has files that never end.
"""

from __future__ import annotations

import contextlib
import copy
import lzma
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stockade.lab.images import blobs
from stockade.lab.images.blobs import Bounds
from stockade.lab.images.image import ImageError

# Ours is the only filter: tarfile's own came with Python 3.11.4 (Debian 12 has 3.11.2), and its default differs between versions.
_UNFILTERED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


class EscapeError(Exception):
    """A member that would reach outside; the text says which and how."""


def unpack(source: Path, target: Path, bounds: Bounds) -> None:
    """``target`` does not exist yet. Raises ImageError with a sentence for the user."""
    if not source.exists():
        raise ImageError(f"{source}: no such file or directory")
    try:
        if source.is_dir():
            _copy_tree(source, target, bounds)
        else:
            _extract(source, target, bounds)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ImageError(f"{source}: {error}") from error
    if not any(target.iterdir()):
        raise ImageError(f"{source}: is empty, not a root file system")
    target.chmod(0o755)


def write(archive: tarfile.TarFile, target: Path, safe: Iterable[tarfile.TarInfo]) -> None:
    """Directories that the archive does not list are for everybody to read, whatever the user's umask."""
    before = os.umask(0o022)
    try:
        archive.extractall(target, safe, numeric_owner=True, **_UNFILTERED)  # noqa: S202 - filtered by us
    finally:
        os.umask(before)


def _remove(path: Path) -> None:
    """A file, a link, or a directory with everything in it; never what a link leads to."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def _extract(source: Path, target: Path, bounds: Bounds) -> None:
    target.mkdir(mode=0o755)
    try:
        with (
            source.open("rb") as file,
            blobs.plain(file, bounds) as plain,
            blobs.opened_tar(plain) as archive,
        ):
            # One by one: each member is looked at when those before it are in place.
            found = blobs.members(archive, bounds)
            write(
                archive,
                target,
                (kept for each in found if (kept := only_inside(each, str(target))) is not None),
            )
    except tarfile.ReadError as error:
        raise ImageError(
            f"{source}: not usable as a root file system: neither a directory nor a tar"
        ) from error
    except (tarfile.TarError, EscapeError, ImageError) as error:
        raise ImageError(f"{source}: not usable as a root file system: {error}") from error


def through_directories_only(root: str, name: str) -> None:
    """Refuses a member that lies behind a symbolic link of the archive: where such a link leads is not for tar to decide, and
    comparing resolved paths has been fooled before (CVE-2025-4517). Walks without following anything."""
    place = root
    for part in name.split("/")[:-1]:
        if part == "..":
            raise EscapeError(f"{name}: leads out of its directory")
        place = f"{place}/{part}"
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise EscapeError(f"{name}: {part} is a link in this archive, not a directory")


def only_inside(member: tarfile.TarInfo, target: str, *, replace: bool = False) -> tarfile.TarInfo | None:
    """The member as it may be extracted: below ``target``, through no link, without special files. None: leave it out. ``replace``: take
    away what another layer has there, unless both are directories (a file would be written through its hard links)."""
    if member.isdev():
        return None
    safe = copy.copy(member)
    safe.name = member.name.lstrip("/")
    safe.mode = member.mode & 0o7777  # setuid bits are void in a container anyway
    if ".." in safe.name.split("/"):
        raise EscapeError(f"{member.name}: leads out of its directory")
    if safe.islnk():
        safe.linkname = member.linkname.lstrip("/")
        if ".." in safe.linkname.split("/"):
            raise EscapeError(f"{member.name}: a hard link to {member.linkname}, out of its directory")
        through_directories_only(target, safe.linkname)
    through_directories_only(target, f"{safe.name}/" if safe.isdir() and not replace else safe.name)
    place = Path(target, safe.name)
    if place.is_symlink():  # a later member replaces an earlier link and is not written through it
        place.unlink()
    elif replace and place != Path(target) and not (safe.isdir() and place.is_dir()):
        _remove(place)
    return safe


def _copy_tree(source: Path, target: Path, bounds: Bounds) -> None:
    def copy(source: str, target: str) -> None:
        bounds.take(os.lstat(source).st_size)
        try:
            _copy(source, target)
        except OSError as error:  # copytree would go on, and print them all at the end
            raise ImageError(f"{source}: {error.strerror}") from error

    device = source.stat().st_dev
    if device in _kernels_own():
        raise ImageError(f"{source}: files of the kernel, not a root file system")

    def left_out(directory: str, names: list[str]) -> set[str]:
        return set(names) if os.lstat(directory).st_dev != device else _special_files(directory, names)

    shutil.copytree(source, target, symlinks=True, ignore=left_out, copy_function=copy)
    for directory, names, _ in os.walk(source):
        place = target / Path(directory).relative_to(source)
        _keep_owner(Path(directory), place)
        names[:] = [name for name in names if (place / name).is_dir() and not (place / name).is_symlink()]


def _kernels_own() -> set[int]:
    return {place.stat().st_dev for place in (Path("/proc"), Path("/sys")) if place.is_mount()}


def _special_files(directory: str, names: list[str]) -> set[str]:
    kept = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return {
        name
        for name in names
        if not any(is_kind((Path(directory) / name).lstat().st_mode) for is_kind in kept)
    }


def _copy(source: str, target: str) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    _keep_owner(Path(source), Path(target))


def _keep_owner(source: Path, target: Path) -> None:
    status = source.lstat()
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):  # chmod would follow it
            target.chmod(stat.S_IMODE(status.st_mode))
