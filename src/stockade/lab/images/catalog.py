"""Image references to root file systems: what the user loaded first, then the built-in stand-ins.

In: the lab's state directory; ``load`` from the command line (another process than the daemon: the directory is the only link
between the two). Out: ``Image`` values or ImageError with what to do. Called by the kubelet part and ``stockade image``.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from stockade.lab.images import archive, builtin
from stockade.lab.images.image import Image, ImageError, normalize, private_directory, short_name

_RECORD = "image.json"


class LoadedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``stockade image list``; ``directory`` is relative to the image's own. ``created`` in seconds since 1970."""

    reference: str
    source: str
    directory: str
    created: float


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
                note=f"loaded from {record.source}",
            )
        name = short_name(reference)
        if name not in builtin.NAMES:
            raise ImageError(
                f'image "{reference}" is neither loaded nor built in; the built-in stand-ins are {", ".join(builtin.NAMES)}. '
                f"Load a root file system (directory or tar file) with: stockade image load {reference} PATH"
            )
        if name not in self._stand_ins:
            self._stand_ins[name] = builtin.build(name, self._builtin)
        return self._stand_ins[name]

    def load(self, reference: str, path: Path) -> LoadedImage:
        """Copies; an earlier image of that name stays until ``prune`` for the containers that still use it."""
        full = normalize(reference)
        place = self._directory(full)
        private_directory(place)
        token = secrets.token_hex(8)
        partial = place / f".partial-{token}"
        try:
            archive.unpack(path, partial)
            partial.rename(place / token)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: an earlier image of that name stays
                place.rmdir()
            raise
        record = LoadedImage(
            reference=full, source=str(path.absolute()), directory=token, created=time.time()
        )
        fresh = place / f"{_RECORD}.{token}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.rename(place / _RECORD)
        return record

    def list(self) -> list[LoadedImage]:
        if not self._loaded.is_dir():
            return []
        records = [self._record(unquote(entry.name)) for entry in sorted(self._loaded.iterdir())]
        return [record for record in records if record is not None]

    def stand_ins(self) -> tuple[str, ...]:
        return builtin.NAMES

    def prune(self) -> None:
        """Removes what no loaded image uses any more; only while no container of any lab runs."""
        for record in self.list():
            for entry in self._directory(record.reference).iterdir():
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
