"""The layer store: each layer of an image in a directory of its own, shared by all images that have it on the same layers below.

In: a layer's tar, the layers below. Out: a directory ``NAME`` (of its chain: OCI image-spec config.md, ChainID), never changed again. Containers see them laid over each
other by overlayfs (``node.sandbox``). What a layer hides of those below is a whiteout in overlay's form, a character device 0/0; an opaque
directory becomes whiteouts of everything below it, so that no extended attribute is needed. Rules of layers: OCI layer.md. Called by the catalog.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from stockade.lab.images import archive, blobs
from stockade.lab.images.archive import EscapeError
from stockade.lab.images.blobs import Bounds

NAME_LENGTH: Final = 24
"""Hexadecimal digits. Short, because overlayfs takes the names of all layers in one page."""
_WHITEOUT, _OPAQUE, _METADATA = ".wh.", ".wh..wh..opq", ".wh..wh."


def chain(below: str, diff: str) -> str:
    """The ChainID of a layer: ``below`` is the one beneath it, or ""; ``diff`` the sha256 of its tar, uncompressed."""
    return hashlib.sha256(f"sha256:{below} sha256:{diff}".encode()).hexdigest() if below else diff


class Stack:
    """What a container would see of layers, the uppermost first; looked up without following any link."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._layers = layers

    def find(self, name: str) -> Path | None:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        for layer in self._layers:
            place, hidden = self._look(layer, parts)
            if place is not None or hidden:
                return place
        return None

    def _look(self, layer: Path, parts: Sequence[str]) -> tuple[Path | None, bool]:
        """In one layer; and whether what it has hides those below."""
        place = layer
        for index, part in enumerate(parts):
            place /= part
            try:
                status = place.lstat()
            except FileNotFoundError:
                return None, False
            if is_whiteout(status):
                return None, True
            if not stat.S_ISDIR(status.st_mode) and index < len(parts) - 1:
                return None, True
        return place, False

    def list(self, name: str) -> set[str]:
        """The entries of a directory."""
        parts = [part for part in name.split("/") if part not in {"", "."}]
        seen: set[str] = set()
        hidden: set[str] = set()
        for layer in self._layers:
            place, covers = self._look(layer, parts)
            if place is not None and stat.S_ISDIR(place.lstat().st_mode):
                for entry in place.iterdir():
                    gone = is_whiteout(entry.lstat())
                    if entry.name not in seen | hidden:
                        (hidden if gone else seen).add(entry.name)
            elif covers or place is not None:
                break
        return seen


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def unpack(source: IO[bytes], target: Path, below: Sequence[Path], bounds: Bounds) -> str:
    """A layer into ``target``, which does not exist yet; the digest of its tar. Raises EscapeError, ImageError, tarfile's errors."""
    target.mkdir(mode=0o755)
    layer = _Layer(target, Stack(below))
    with blobs.plain(source, bounds) as plain:
        with blobs.opened_tar(plain) as tar:
            archive.write(tar, target, layer.safe(blobs.members(tar, bounds)))
        plain.rest()  # the digest is of every byte
        layer.hide()
        target.chmod(0o755)
        return plain.digest


class _Layer:
    """One layer while it is unpacked."""

    def __init__(self, target: Path, below: Stack) -> None:
        self._target = target
        self._below = below
        self._whiteouts: list[str] = []
        self._opaque: list[str] = []

    def safe(self, members: Iterator[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
        for member in members:
            if Path(member.name).name.startswith(_WHITEOUT):
                self._note_whiteout(member)
                continue
            kept = archive.only_inside(member, str(self._target), replace=True)
            if kept is None or kept.name.strip("./") == "":
                continue
            self._make_parents(kept.name)
            if not (kept.islnk() and self._copied_up(kept)):
                yield kept

    def _note_whiteout(self, member: tarfile.TarInfo) -> None:
        path = Path(member.name.lstrip("/"))
        if path.name.startswith(_METADATA) and path.name != _OPAQUE:
            return
        if ".." in path.parts:
            raise EscapeError(f"{member.name}: leads out of its directory")
        if path.name == _OPAQUE:
            self._opaque.append(str(path.parent))
            return
        name = path.name.removeprefix(_WHITEOUT)
        if name in {"", ".", ".."}:
            raise EscapeError(f"{member.name}: hides no file")
        self._whiteouts.append(str(path.parent / name))

    def _make_parents(self, name: str) -> None:
        """A directory that the layer does not list is the one below; a link there is not followed."""
        parents = name.strip("/").split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            at = "/".join(parents[:depth])
            place = self._target / at
            if os.path.lexists(place):
                continue
            found = self._below.find(at)
            status = None if found is None else found.lstat()
            if status is not None and stat.S_ISLNK(status.st_mode):
                raise EscapeError(f"{name}: {parents[depth - 1]} is a link in a layer below, not a directory")
            place.mkdir(mode=0o755)
            place.chmod(0o755)
            if found is not None and status is not None and stat.S_ISDIR(status.st_mode):
                place.chmod(stat.S_IMODE(status.st_mode))
                if os.geteuid() == 0:
                    os.chown(place, status.st_uid, status.st_gid)

    def _copied_up(self, member: tarfile.TarInfo) -> bool:
        """A hard link to a file of a layer below becomes a file of its own."""
        if os.path.lexists(self._target / member.linkname):
            return False
        found = self._below.find(member.linkname)
        if found is None or not stat.S_ISREG(found.lstat().st_mode):
            raise EscapeError(f"{member.name}: a hard link to {member.linkname}, which is no file")
        shutil.copy2(found, self._target / member.name, follow_symlinks=False)
        status = found.lstat()
        if os.geteuid() == 0:
            os.chown(self._target / member.name, status.st_uid, status.st_gid)
            (self._target / member.name).chmod(stat.S_IMODE(status.st_mode))
        return True

    def hide(self) -> None:
        """When the layer's own files are there: whiteouts never take those away, wherever they stood in the tar."""
        for name in self._whiteouts:
            archive.through_directories_only(str(self._target), name)
            if (self._target / name).is_dir() and not (self._target / name).is_symlink():
                self._hide_all(name)
            else:
                self._hide_one(name)
        for name in self._opaque:
            archive.through_directories_only(str(self._target), f"{name}/")
            self._hide_all(name)

    def _hide_all(self, name: str) -> None:
        """Everything that lower layers have in the directory, except what this layer has there, too."""
        for entry in self._below.list(name):
            at = f"{name}/{entry}"
            place = self._target / at
            if place.is_dir() and not place.is_symlink():
                self._hide_all(at)
            else:
                self._hide_one(at)

    def _hide_one(self, name: str) -> None:
        if not os.path.lexists(self._target / name) and self._below.find(name) is not None:
            self._make_parents(name)
            os.mknod(self._target / name, stat.S_IFCHR, 0)
