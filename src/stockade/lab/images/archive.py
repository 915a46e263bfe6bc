"""A root file system from a directory, a tar file or the layers of an image, copied so that nothing of it can reach outside.

In: a path that the user names, or layers. Out: a directory. Called by the catalog for ``stockade image load``. Device nodes, sockets and
pipes are left out (a container gets its own /dev); absolute links are kept, they are resolved inside the container. Layers: OCI image-spec
layer.md; whiteouts (``.wh.NAME``, ``.wh..wh..opq``) hide what lower layers brought, wherever they stand in their layer.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from stockade.lab.images.image import ImageError

# Ours is the only filter: tarfile's own came with Python 3.11.4 (Debian 12 has 3.11.2), and its default differs between versions.
_UNFILTERED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
_WHITEOUT, _OPAQUE, _METADATA = ".wh.", ".wh..wh..opq", ".wh..wh."


class _EscapeError(Exception):
    """A member that would reach outside; the text says which and how."""


def unpack(source: Path, target: Path) -> None:
    """``target`` does not exist yet. Raises ImageError with a sentence for the user."""
    if not source.exists():
        raise ImageError(f"{source}: no such file or directory")
    try:
        if source.is_dir():
            _copy_tree(source, target)
        else:
            _extract(source, target)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"{source}: {error}") from error
    if not any(target.iterdir()):
        raise ImageError(f"{source}: is empty, not a root file system")
    target.chmod(0o755)


def apply_layers(source: Path, layers: Iterable[IO[bytes]], target: Path) -> None:
    """One over the other into ``target``, which does not exist yet. Raises ImageError."""
    target.mkdir(mode=0o755)
    try:
        for layer in layers:
            with tarfile.open(fileobj=layer) as archive:
                _apply_layer(archive, target)
    except tarfile.ReadError as error:
        raise ImageError(f"{source}: a layer is no tar: {error}") from error
    except (OSError, EOFError, zlib.error, tarfile.TarError, _EscapeError) as error:
        raise ImageError(f"{source}: not usable as an image: {error}") from error
    if not any(target.iterdir()):
        raise ImageError(f"{source}: has no files")
    target.chmod(0o755)


def _apply_layer(archive: tarfile.TarFile, target: Path) -> None:
    members = archive.getmembers()
    _enough_room(members, target)
    for member in members:
        _hide(member, target)
    own = [member for member in members if not Path(member.name).name.startswith(_WHITEOUT)]
    safe = (kept for member in own if (kept := _only_inside(member, str(target), replace=True)) is not None)
    _write(archive, target, safe)


def _write(archive: tarfile.TarFile, target: Path, safe: Iterable[tarfile.TarInfo]) -> None:
    """Directories that the archive does not list are for everybody to read, whatever the user's umask."""
    before = os.umask(0o022)
    try:
        archive.extractall(target, safe, numeric_owner=True, **_UNFILTERED)  # noqa: S202 - filtered by us
    finally:
        os.umask(before)


def _hide(member: tarfile.TarInfo, target: Path) -> None:
    """What a whiteout takes away of the layers below."""
    path = Path(member.name.lstrip("/"))
    if not path.name.startswith(_WHITEOUT) or (path.name.startswith(_METADATA) and path.name != _OPAQUE):
        return
    if ".." in path.parts:
        raise _EscapeError(f"{member.name}: leads out of its directory")
    _through_directories_only(str(target), str(path))
    if path.name == _OPAQUE:
        with contextlib.suppress(FileNotFoundError):
            for entry in list((target / path.parent).iterdir()):
                _remove(entry)
        return
    name = path.name.removeprefix(_WHITEOUT)
    if name in {"", ".", ".."}:
        raise _EscapeError(f"{member.name}: hides no file")
    _remove(target / path.parent / name)


def _remove(path: Path) -> None:
    """A file, a link, or a directory with everything in it; never what a link leads to."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def _enough_room(members: list[tarfile.TarInfo], target: Path) -> None:
    size, free = sum(member.size for member in members), shutil.disk_usage(target).free
    if size > free:
        raise _EscapeError(f"it needs {size >> 20} MiB, there are {free >> 20} MiB")


def _extract(source: Path, target: Path) -> None:
    target.mkdir(mode=0o755)
    try:
        with tarfile.open(source) as archive:
            members = archive.getmembers()
            _enough_room(members, target)
            # One by one: each member is looked at when those before it are in place.
            safe = (kept for member in members if (kept := _only_inside(member, str(target))) is not None)
            _write(archive, target, safe)
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


def _only_inside(member: tarfile.TarInfo, target: str, *, replace: bool = False) -> tarfile.TarInfo | None:
    """The member as it may be extracted: below ``target``, through no link, without special files. None: leave it out. ``replace``: take
    away what another layer has there, unless both are directories (a file would be written through its hard links)."""
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
    _through_directories_only(target, f"{safe.name}/" if safe.isdir() and not replace else safe.name)
    place = Path(target, safe.name)
    if place.is_symlink():  # a later member replaces an earlier link and is not written through it
        place.unlink()
    elif replace and place != Path(target) and not (safe.isdir() and place.is_dir()):
        _remove(place)
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
