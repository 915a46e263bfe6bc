"""A root file system from a directory or a tar file, copied so that nothing of it can reach outside.

In: a path that the user names. Out: a directory. Called by the catalog for ``stockade image load``. Device nodes, sockets and
pipes are left out (a container gets its own /dev); absolute links are kept, they are resolved inside the container.
"""

from __future__ import annotations

import copy
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import Any

from stockade.lab.images.image import ImageError

# Ours is the only filter: tarfile's own came with Python 3.11.4 (Debian 12 has 3.11.2), and its default differs between versions.
_UNFILTERED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
_IMAGE_ARCHIVES = ("oci-layout", "manifest.json", "index.json")


class _EscapeError(Exception):
    """A member that would reach outside; the text says which and how."""


def unpack(source: Path, target: Path) -> None:
    """``target`` does not exist yet. Raises ImageError with a sentence for the user."""
    if not source.exists():
        raise ImageError(f"{source}: no such file or directory")
    try:
        if source.is_dir():
            _refuse_image_layout(source, {entry.name for entry in source.iterdir()})
            _copy_tree(source, target)
        else:
            _extract(source, target)
    except (OSError, EOFError) as error:
        raise ImageError(f"{source}: {error}") from error
    if not any(target.iterdir()):
        raise ImageError(f"{source}: is empty, not a root file system")
    target.chmod(0o755)


def _refuse_image_layout(source: Path, names: set[str]) -> None:
    if names & set(_IMAGE_ARCHIVES):
        raise ImageError(
            f"{source}: this is an image archive (OCI layout or docker save), not a root file system; "
            "export one first, for example with: docker export CONTAINER -o rootfs.tar"
        )


def _extract(source: Path, target: Path) -> None:
    target.mkdir(mode=0o755)
    try:
        with tarfile.open(source) as archive:
            members = archive.getmembers()
            _refuse_image_layout(source, {member.name.removeprefix("./") for member in members})
            # One by one: each member is looked at when those before it are in place.
            safe = (kept for member in members if (kept := _only_inside(member, str(target))) is not None)
            archive.extractall(target, safe, numeric_owner=True, **_UNFILTERED)  # noqa: S202 - filtered by us
    except tarfile.ReadError as error:
        raise ImageError(
            f"{source}: not usable as a root file system: neither a directory nor a tar"
        ) from error
    except (tarfile.TarError, _EscapeError) as error:
        raise ImageError(f"{source}: not usable as a root file system: {error}") from error


def _through_directories_only(root: str, name: str) -> None:
    """Refuses a member that lies behind a symbolic link of the archive: where such a link leads is not for tar to decide, and
    comparing resolved paths has been fooled before (CVE-2025-4517). Walks without following anything."""
    place = root
    for part in name.split("/")[:-1]:
        if part == "..":
            raise _EscapeError(f"{name}: leads out of its directory")
        place = f"{place}/{part}"
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise _EscapeError(f"{name}: {part} is a link in this archive, not a directory")


def _only_inside(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    """The member as it may be extracted: below ``target``, through no link, without special files. None: leave it out."""
    if member.isdev():
        return None
    safe = copy.copy(member)
    safe.name = member.name.lstrip("/")
    safe.mode = member.mode & 0o7777  # setuid bits are void in a container anyway
    if ".." in safe.name.split("/"):
        raise _EscapeError(f"{member.name}: leads out of its directory")
    if safe.islnk():
        safe.linkname = member.linkname.lstrip("/")
        if ".." in safe.linkname.split("/"):
            raise _EscapeError(f"{member.name}: a hard link to {member.linkname}, out of its directory")
        _through_directories_only(target, safe.linkname)
    _through_directories_only(target, f"{safe.name}/" if safe.isdir() else safe.name)
    place = Path(target, safe.name)
    if place.is_symlink():  # a later member replaces an earlier link and is not written through it
        place.unlink()
    return safe


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=_special_files, copy_function=_copy)
    for directory, names, _ in os.walk(source):
        place = target / Path(directory).relative_to(source)
        for name in (".", *names):
            if not (place / name).is_symlink():
                _keep_owner(Path(directory) / name, place / name)


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
