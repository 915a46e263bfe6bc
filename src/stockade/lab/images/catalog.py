"""Image references to root file systems: what the user loaded first, then the built-in stand-ins.

In: the lab's state directory; ``load`` from the command line (another process than the daemon: the directory is the only link
between the two). Out: ``Image`` values or ImageError with what to do. Called by the kubelet part and ``stockade image``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from stockade.lab.images import archive, builtin, bundle
from stockade.lab.images.image import Image, ImageError, normalize, private_directory, short_name
from stockade.lab.images.process import Process, process_of

_RECORD = "image.json"
_PARTIAL = ".partial-"  # begins no reference


class LoadedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``stockade image list``; ``directory`` is relative to the image's own. ``created`` in seconds since 1970."""

    reference: str
    source: str
    directory: str
    created: float
    process: Process = Process()


class Catalog:
    def __init__(self, state_directory: Path) -> None:
        self._builtin = state_directory / "images" / "builtin"
        self._loaded = state_directory / "images" / "loaded"
        self._stand_ins: dict[str, Image] = {}

    def resolve(self, reference: str) -> Image:
        """Raises ImageError: unknown image, bad name, or no busybox to build a stand-in from."""
        record = self._record(normalize(reference))
        if record is not None:
            root = self._directory(record.reference) / record.directory
            return Image(
                reference=record.reference,
                id=f"stockade.local/loaded/{record.directory}@sha256:{hashlib.sha256(str(root).encode()).hexdigest()}",
                root=str(root),
                environment=record.process.environment,
                entrypoint=record.process.entrypoint,
                command=record.process.command,
                working_directory=record.process.working_directory,
                uid=record.process.uid,
                gid=record.process.gid,
                stop_signal=record.process.stop_signal,
                note=f"loaded from {record.source}",
            )
        name = short_name(reference)
        if name not in builtin.NAMES:
            raise ImageError(
                f'image "{reference}" is neither loaded nor built in; the built-in stand-ins are {", ".join(builtin.NAMES)}. '
                f"Load an image (docker save, OCI layout) or a root file system with: stockade image load {reference} PATH"
            )
        if name not in self._stand_ins:
            self._stand_ins[name] = builtin.build(name, self._builtin)
        return self._stand_ins[name]

    def load(self, reference: str, path: Path) -> LoadedImage:
        """Copies; an earlier image of that name stays until ``prune`` for the containers that still use it. ``reference`` "": the name
        that the archive gives it."""
        if not path.exists():
            raise ImageError(f"{path}: no such file or directory")
        private_directory(self._loaded)
        token = secrets.token_hex(8)
        partial = self._loaded / f"{_PARTIAL}{token}"
        try:
            named, process = _unpack(reference, path, partial)
            record = LoadedImage(
                reference=named,
                source=str(path.absolute()),
                directory=token,
                created=time.time(),
                process=process,
            )
            with self._alone():
                self._keep(record, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return record

    def _keep(self, record: LoadedImage, files: Path) -> None:
        place = self._directory(record.reference)
        private_directory(place)
        files.rename(place / record.directory)
        fresh = place / f"{_RECORD}.{record.directory}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.rename(place / _RECORD)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process prunes meanwhile, or loads into what is pruned."""
        fd = os.open(
            self._loaded.parent / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def remove(self, reference: str) -> None:
        """Raises ImageError. The files stay until ``prune`` for the containers that still use them."""
        full = normalize(reference)
        if short_name(reference) in builtin.NAMES and self._record(full) is None:
            raise ImageError(f"{reference} is a built-in stand-in; there is nothing to remove")
        try:
            (self._directory(full) / _RECORD).unlink()
        except FileNotFoundError:
            raise ImageError(f"no image {reference!r} is loaded") from None

    def list(self) -> list[LoadedImage]:
        if not self._loaded.is_dir():
            return []
        records = [self._record(unquote(entry.name)) for entry in sorted(self._loaded.iterdir())]
        return [record for record in records if record is not None]

    def stand_ins(self) -> tuple[str, ...]:
        return builtin.NAMES

    def prune(self) -> None:
        """Removes what no loaded image uses any more; only while no container of any lab runs."""
        if not self._loaded.is_dir():
            return
        with self._alone():
            for place in self._loaded.iterdir():
                if not place.name.startswith(_PARTIAL):
                    self._prune(place)

    def _prune(self, place: Path) -> None:
        record = self._record(unquote(place.name))
        if record is None:
            shutil.rmtree(place, ignore_errors=True)
            return
        for entry in place.iterdir():
            if entry.is_dir() and entry.name != record.directory:
                shutil.rmtree(entry, ignore_errors=True)

    def _directory(self, full_reference: str) -> Path:
        return self._loaded / quote(full_reference, safe="")

    def _record(self, full_reference: str) -> LoadedImage | None:
        try:
            data = (self._directory(full_reference) / _RECORD).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(data, type=LoadedImage)


def _unpack(reference: str, path: Path, target: Path) -> tuple[str, Process]:
    """An image archive, or else a root file system; returns the image's full name and what it says of its process."""
    full = normalize(reference) if reference else ""
    try:
        with bundle.opened(path, full) as found:
            if found is not None:
                named = full or _own_name(found.tags)
                archive.apply_layers(path, found.layers(), target)
                return named, process_of(found.config, target)
    except ImageError as error:
        if str(error).startswith(f"{path}:"):
            raise
        raise ImageError(f"{path}: not usable as an image or root file system: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: {error}") from error
    if not full:
        raise ImageError(
            f"{path}: a root file system has no name of its own; give one: stockade image load NAME {path}"
        )
    archive.unpack(path, target)
    return full, Process()


def _own_name(tags: list[str]) -> str:
    """The first of its names that is one; an OCI layout often has only a tag (``latest``) there."""
    for tag in (tag for tag in tags if "/" in tag or ":" in tag):
        with contextlib.suppress(ImageError):
            return normalize(tag)
    raise ImageError("it does not say its name; give one")
