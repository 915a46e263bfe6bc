"""A layer's bytes: decompressed, counted, hashed and bounded while they are read; and its tar, member by member.

In: an open file, which may be compressed (gzip, bzip2, xz, zstd). Out: ``Plain``, to be read once from the beginning; ``members`` of the tar in it. Called by
``archive`` and ``layers``. Nothing is read whole: a hostile archive costs no more memory than its longest header, and no more disk than ``Bounds``
allow. zstd has no module in Python before 3.14: the package ``zstandard`` or the program ``zstd`` is used where there is one.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import importlib
import lzma
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, cast

from stockade.lab.images.image import ImageError

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LARGEST_HEADER: Final = 1 << 20
_PIECE: Final = 1 << 16
_EXTRA: Final = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}


class Bounds:
    """How much one image may unpack to, over all its layers."""

    def __init__(self, size: int = 20 << 30, entries: int = 1_000_000) -> None:
        self._size = size
        self._entries = entries
        self._bytes = 0
        self._members = 0

    def take(self, size: int) -> None:
        self._members += 1
        self._bytes += max(0, size)
        if self._members > self._entries:
            raise ImageError(f"it has more than {self._entries} files; raise the bound with --max-files")
        if self._bytes > self._size:
            raise ImageError(
                f"it is larger than {self._size >> 20} MiB unpacked; raise the bound with --max-size"
            )

    @property
    def most_bytes(self) -> int:
        """Of one tar: its headers and padding beside its files."""
        return self._size + 1024 * self._entries


class Plain:
    """A file object for ``tarfile`` in stream mode. ``digest`` is that of everything that was read so far, uncompressed."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self._source = source
        self._left = most
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ImageError("it unpacks to more than any image of the size allowed")
        self._hash.update(data)
        return data

    def rest(self) -> None:
        while self.read(_PIECE):
            pass

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


@contextlib.contextmanager
def plain(source: IO[bytes], bounds: Bounds) -> Iterator[Plain]:
    """Raises ImageError where zstd is needed and not there."""
    start = source.read(6)
    source.seek(0)
    with contextlib.ExitStack() as stack:
        opened = source
        if start.startswith(_ZSTD):
            opened = stack.enter_context(_zstd(source))
        elif start.startswith(b"\x1f\x8b"):
            opened = cast("IO[bytes]", gzip.GzipFile(fileobj=source))
        elif start.startswith(b"BZh"):
            opened = cast("IO[bytes]", bz2.BZ2File(source))
        elif start == b"\xfd7zXZ\0":
            opened = cast("IO[bytes]", lzma.LZMAFile(source))  # noqa: SIM115 - it opens nothing
        yield Plain(opened, bounds.most_bytes)


@contextlib.contextmanager
def _zstd(source: IO[bytes]) -> Iterator[IO[bytes]]:
    reader = _zstd_module()
    if reader is not None:
        yield reader(source)
        return
    program = shutil.which("zstd")
    if program is None:
        raise ImageError(
            "it is compressed with zstd: install the program zstd (Debian, Ubuntu: apt-get install zstd) or the Python package "
            "zstandard; or write it with gzip, for example: skopeo copy --dest-compress-format gzip …"
        )
    with tempfile.TemporaryFile() as compressed:
        shutil.copyfileobj(source, compressed)
        compressed.seek(0)
        with subprocess.Popen(
            [program, "-dcq", "--memory=512MB"],
            stdin=compressed,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
                ended = not process.stdout.read(1)
            finally:
                process.stdout.close()
                process.terminate()
        if ended and process.returncode:
            raise ImageError("its zstd data is damaged")


def _zstd_module() -> Callable[[IO[bytes]], IO[bytes]] | None:
    """Optional, and no dependency of ours."""
    try:
        module: Any = importlib.import_module("zstandard")
    except ImportError:
        return None
    return lambda source: cast("IO[bytes]", module.ZstdDecompressor().stream_reader(source))


class _Member(tarfile.TarInfo):
    """Refuses headers that tarfile would read whole, and maps of sparse files, which have no bound."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in _EXTRA and self.size > _LARGEST_HEADER:
            raise ImageError(f"a header in it is longer than {_LARGEST_HEADER >> 20} MiB")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        return super()._proc_member(archive)  # type: ignore[misc]

    def _refuse_sparse(self, *_: object) -> None:
        raise ImageError("it has sparse files, which are not supported")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


@contextlib.contextmanager
def opened_tar(source: Plain) -> Iterator[tarfile.TarFile]:
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", tarinfo=_Member) as archive:
        yield archive


def members(archive: tarfile.TarFile, bounds: Bounds) -> Iterator[tarfile.TarInfo]:
    """One by one, and none remembered."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        bounds.take(member.size if member.isreg() else 0)
        yield member
