"""Image references to root file systems: what the user loaded first, then the built-in stand-ins.

In: the lab's state directory; ``load`` from the command line (another process than the daemon: the directory is the only link
between the two). Out: ``Image`` values or ImageError with what to do. Called by the kubelet part and ``stockade image``.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import secrets
import tarfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stockade.lab.images import archive, builtin, bundle, layers, programs
from stockade.lab.images.archive import EscapeError
from stockade.lab.images.blobs import Bounds
from stockade.lab.images.image import Image, ImageError, normalize, short_name
from stockade.lab.images.process import Process, process_of
from stockade.lab.images.store import ImageStore, Layer, LoadedImage

_MOST_LAYERS: Final = 140
"""As many names as overlayfs takes in one page."""


class Catalog:
    def __init__(self, state_directory: Path) -> None:
        self._builtin = state_directory / "images" / "builtin"
        self._store = ImageStore(state_directory / "images")
        self._stand_ins: dict[str, Image] = {}

    def resolve(self, reference: str) -> Image:
        """Raises ImageError: unknown image, bad name, or no busybox to build a stand-in from."""
        record = self._store.find(normalize(reference))
        if record is not None:
            return self._loaded(record)
        name = short_name(reference)
        if name in programs.PROGRAMS:
            return programs.build(name, self._builtin)
        if name not in builtin.NAMES:
            raise ImageError(
                f'image "{reference}" is neither loaded nor built in; the built-in stand-ins are {", ".join(builtin.NAMES)}. '
                f"Load an image (docker save, OCI layout) or a root file system with: stockade image load {reference} PATH"
            )
        if name not in self._stand_ins:
            self._stand_ins[name] = builtin.build(name, self._builtin)
        return self._stand_ins[name]

    def _loaded(self, record: LoadedImage) -> Image:
        root, *below = (str(self._store.directory(layer.name)) for layer in reversed(record.layers))
        names = " ".join(layer.name for layer in record.layers)
        return Image(
            reference=record.reference,
            id=f"stockade.local/loaded/{record.layers[-1].name}@sha256:{hashlib.sha256(names.encode()).hexdigest()}",
            root=root,
            below=tuple(below),
            environment=record.process.environment,
            entrypoint=record.process.entrypoint,
            command=record.process.command,
            working_directory=record.process.working_directory,
            uid=record.process.uid,
            gid=record.process.gid,
            stop_signal=record.process.stop_signal,
            note=f"loaded from {record.source}",
        )

    def load(self, reference: str, path: Path, bounds: Bounds | None = None) -> LoadedImage:
        """Copies; an earlier image of that name stays until ``prune`` for the containers that still use it. ``reference`` "": the name
        that the archive gives it."""
        if not path.exists():
            raise ImageError(f"{path}: no such file or directory")
        with self._store.loading():
            named, kept, process = self._unpack(reference, path, bounds or Bounds())
            record = LoadedImage(
                reference=named,
                source=str(path.absolute()),
                created=time.time(),
                layers=kept,
                process=process,
            )
            self._store.keep(record)
        return record

    def _unpack(self, reference: str, path: Path, bounds: Bounds) -> tuple[str, tuple[Layer, ...], Process]:
        """An image archive, or else a root file system: the image's full name, its layers, and what it says of its process."""
        full = normalize(reference) if reference else ""
        try:
            with bundle.opened(path, full) as found:
                if found is not None:
                    named = full or _own_name(found.tags)
                    kept = self._layers(found, bounds)
                    return named, kept, process_of(found.config, self._stack(kept))
        except ImageError as error:
            raise ImageError(f"{path}: not usable as an image or root file system: {error}") from error
        except (EscapeError, OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
            raise ImageError(f"{path}: not usable as an image: {error}") from error
        if not full:
            raise ImageError(
                f"{path}: a root file system has no name of its own; give one: stockade image load NAME {path}"
            )

        def unpack(target: Path) -> str:
            archive.unpack(path, target, bounds)
            return secrets.token_hex(layers.NAME_LENGTH // 2)

        return full, (self._store.add(unpack),), Process()

    def _layers(self, found: bundle.Bundle, bounds: Bounds) -> tuple[Layer, ...]:
        """From the lowest to the uppermost."""
        if not 0 < len(found) <= _MOST_LAYERS:
            raise ImageError(f"it has {len(found)} layers; an image has 1 to {_MOST_LAYERS}")
        kept: list[Layer] = []
        chain = ""
        for index in range(len(found)):
            layer, chain = self._layer(found, index, kept, chain, bounds)
            kept.append(layer)
        if not self._stack(kept).list(""):
            raise ImageError("it has no files")
        return tuple(kept)

    def _stack(self, kept: Sequence[Layer]) -> layers.Stack:
        return layers.Stack(self._paths(kept))

    def _paths(self, kept: Sequence[Layer]) -> list[Path]:
        return [self._store.directory(layer.name) for layer in reversed(kept)]

    def _layer(
        self, found: bundle.Bundle, index: int, kept: Sequence[Layer], below: str, bounds: Bounds
    ) -> tuple[Layer, str]:
        """The layer and its chain. One that is there already is not read at all."""
        said = found.diff(index)
        wanted = layers.chain(below, said) if said else ""
        if wanted and self._store.has(wanted[: layers.NAME_LENGTH]):
            return self._store.known(wanted[: layers.NAME_LENGTH]), wanted
        chains: list[str] = []

        def unpack(target: Path) -> str:
            try:
                with found.layer(index) as content:
                    diff = layers.unpack(content, target, self._paths(kept), bounds)
            except tarfile.ReadError as error:
                raise ImageError(f"layer {index + 1} is no tar, or damaged: {error}") from error
            if said and diff != said:
                raise ImageError(f"layer {index + 1} does not have the digest that the configuration names")
            chains.append(layers.chain(below, diff))
            return chains[0][: layers.NAME_LENGTH]

        return self._store.add(unpack), chains[0]

    def remove(self, reference: str) -> None:
        """Raises ImageError. The files stay until ``prune`` for the containers that still use them."""
        full = normalize(reference)
        if short_name(reference) in builtin.NAMES and self._store.find(full) is None:
            raise ImageError(f"{reference} is a built-in stand-in; there is nothing to remove")
        if not self._store.remove(full):
            raise ImageError(f"no image {reference!r} is loaded")

    def list(self) -> list[LoadedImage]:
        return self._store.records()

    def stand_ins(self) -> tuple[str, ...]:
        return builtin.NAMES

    def prune(self) -> None:
        """Removes what no loaded image uses any more; only while no container of any lab runs."""
        self._store.prune()


def _own_name(tags: Sequence[str]) -> str:
    """The first of its names that is one; an OCI layout often has only a tag (``latest``) there."""
    for tag in (tag for tag in tags if "/" in tag or ":" in tag):
        with contextlib.suppress(ImageError):
            return normalize(tag)
    raise ImageError("it does not say its name; give one")
