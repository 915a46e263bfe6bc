"""Where manifests come from: files, directories (recursively), standard input.

In: what stands behind ``-f``. Out: texts with the name that diagnostics show, or a Diagnostic for what cannot be read. Called by
``manifests.load``.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from stockade.model.diagnostic import Diagnostic, Position

SUFFIXES = (".json", ".yaml", ".yml")  # as kubectl
MAX_BYTES = 256 * 1024 * 1024
STDIN = "<stdin>"


class Source(msgspec.Struct, frozen=True):
    """One text; ``name`` is the file as the user would write it. ``damage`` is where the first bytes stand that are no text."""

    name: str
    text: str
    damage: Position | None = None


def read(sources: Sequence[str], stdin: TextIO | None) -> Iterator[Source | Diagnostic]:
    """In the order given; a directory's files are sorted."""
    for source in sources:
        if source == "-":
            yield _stdin(stdin)
        elif source.startswith(("http://", "https://")):
            yield _problem("unreadable-file", f"{source}: URLs are not read", "download it and give the file")
        else:
            yield from _path(Path(source))


def _stdin(stdin: TextIO | None) -> Source | Diagnostic:
    if stdin is None:
        return _problem("unreadable-file", "there is no standard input to read", "give a file or a directory")
    buffer = getattr(stdin, "buffer", None)
    try:
        return decoded(STDIN, buffer.read(MAX_BYTES + 1)) if buffer else Source(STDIN, stdin.read())
    except (OSError, UnicodeError) as error:
        return _problem("unreadable-file", f"standard input: {error}")


def _path(path: Path) -> Iterator[Source | Diagnostic]:
    if not path.is_dir():
        yield _file(path)
        return
    files = sorted(_files(path))
    if not files:
        listed = ", ".join(SUFFIXES)
        yield _problem("no-manifests", f"{path}: no manifests in this directory", f"files end in {listed}")
    for file in files:
        yield _file(file)


def _files(path: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if name.endswith(SUFFIXES))


def _file(path: Path) -> Source | Diagnostic:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return _problem("unreadable-file", f"{path}: {reason}")
    return decoded(str(path), data)


def decoded(name: str, data: bytes) -> Source | Diagnostic:
    """As kubectl: UTF-8 or, with a byte order mark, UTF-16. What is neither becomes U+FFFD."""
    if len(data) > MAX_BYTES:
        return _problem("unreadable-file", f"{name}: larger than {MAX_BYTES >> 20} MiB")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Source(name, data.decode("utf-16", "replace"))
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return Source(name, data.decode())
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        where = Position(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return Source(name, data.decode(errors="replace"), where)


def _problem(code: str, message: str, hint: str = "", position: Position | None = None) -> Diagnostic:
    return Diagnostic(code=code, message=message, hint=hint, position=position)
