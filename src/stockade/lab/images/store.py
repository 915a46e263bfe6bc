"""Where loaded images are: layers, each once, and a record for each name. Shared by all labs of a user, and by concurrent loads.

    images/layers/NAME/…      never changed; NAME from the layer's chain, or random for a root file system
    images/loaded/REF/image.json
In: unpacked layers, records. Out: the same. Called by the catalog. A load holds the lock with others; pruning needs it alone, and is put off otherwise: so what a load found
there stays until its record says that it uses it. What is used is found by reading the records; nothing is counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from stockade.lab.images.image import private_directory
from stockade.lab.images.process import Process

_RECORD: Final = "image.json"
_PARTIAL: Final = ".partial-"


class Layer(msgspec.Struct, frozen=True):
    """``size`` of its files in bytes."""

    name: str
    size: int


class LoadedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A record. ``layers`` from the lowest to the uppermost; ``created`` in seconds since 1970."""

    reference: str
    source: str
    created: float
    layers: tuple[Layer, ...] = ()
    process: Process = Process()


class ImageStore:
    def __init__(self, directory: Path) -> None:
        self._layers = directory / "layers"
        self._loaded = directory / "loaded"

    def directory(self, name: str) -> Path:
        return self._layers / name

    def has(self, name: str) -> bool:
        return (self._layers / name).is_dir()

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """What is there stays there."""
        for directory in (self._layers, self._loaded):
            private_directory(directory)
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._loaded.parent / "lock", flags, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def add(self, unpack: Callable[[Path], str]) -> Layer:
        """``unpack`` fills a directory and says its name; if it is there by now, that of the other is kept."""
        partial = self._layers / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            name = unpack(partial)
            layer = Layer(name, _size(partial))
            with contextlib.suppress(OSError):
                partial.rename(self._layers / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return layer

    def known(self, name: str) -> Layer:
        return Layer(name, _size(self._layers / name))

    def keep(self, record: LoadedImage) -> None:
        place = self._place(record.reference)
        private_directory(place)
        fresh = place / f"{_RECORD}.{secrets.token_hex(8)}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.rename(place / _RECORD)

    def find(self, full_reference: str) -> LoadedImage | None:
        """None, too, for one whose layers somebody took away."""
        try:
            data = (self._place(full_reference) / _RECORD).read_bytes()
            record = msgspec.json.decode(data, type=LoadedImage)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        whole = record.layers and all(self.has(layer.name) for layer in record.layers)
        return record if whole else None

    def remove(self, full_reference: str) -> bool:
        try:
            (self._place(full_reference) / _RECORD).unlink()
        except FileNotFoundError:
            return False
        return True

    def records(self) -> list[LoadedImage]:
        if not self._loaded.is_dir():
            return []
        found = [self.find(unquote(entry.name)) for entry in sorted(self._loaded.iterdir())]
        return [record for record in found if record is not None]

    def prune(self) -> None:
        """Remove what no record uses; only while no container of any lab runs. Nothing happens while somebody loads."""
        if not self._loaded.is_dir():
            return
        with contextlib.suppress(BlockingIOError), self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            used = {layer.name for record in self.records() for layer in record.layers}
            for entry in self._layers.iterdir() if self._layers.is_dir() else ():
                if entry.name not in used:
                    shutil.rmtree(entry, ignore_errors=True)
            for place in self._loaded.iterdir():
                if self.find(unquote(place.name)) is None:
                    shutil.rmtree(place, ignore_errors=True)

    def _place(self, full_reference: str) -> Path:
        return self._loaded / quote(full_reference, safe="")


def _size(root: Path) -> int:
    """Of regular files; a file with several names counts once."""
    seen: set[int] = set()
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(directory, name))  # noqa: PTH118 - a hundred thousand of them
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total
