"""An image as tools write it to a file: OCI image layout or docker-archive, as a directory or a tar.

In: a path that the user names, the image's name when the archive holds several. Out: ``Bundle``: the layers' descriptors in order, and what the
image says about its process. Called by the catalog. Rules: OCI image-spec 1.1 (image-layout.md, image-index.md, manifest.md, config.md);
docker-archive: ``manifest.json`` with Config, RepoTags and Layers. Names from the archive are only looked up in the archive,
never opened on this machine; a blob must have the digest that names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import platform
import posixpath
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec

from stockade.lab.images.image import ImageError, normalize

_JSON_LIMIT: Final = 4 << 20
_PIECE: Final = 1 << 20
_MOST_LINKS: Final = 4
_MOST_LAYERS: Final = 512
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_REF_NAME: Final = "org.opencontainers.image.ref.name"
_FULL_NAME: Final = "io.containerd.image.name"
JsonObject = dict[str, Any]


class _Process(msgspec.Struct, frozen=True, kw_only=True):
    """``config`` of the image's configuration: OCI config.md."""

    entrypoint: list[str] | None = msgspec.field(default=None, name="Entrypoint")
    cmd: list[str] | None = msgspec.field(default=None, name="Cmd")
    env: list[str] | None = msgspec.field(default=None, name="Env")
    working_directory: str | None = msgspec.field(default=None, name="WorkingDir")
    user: str | None = msgspec.field(default=None, name="User")
    stop_signal: str | None = msgspec.field(default=None, name="StopSignal")


class _RootFs(msgspec.Struct, frozen=True, kw_only=True):
    diff_ids: list[str] = msgspec.field(default_factory=list)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of an image's configuration."""

    architecture: str = ""
    os: str = "linux"
    process: _Process | None = msgspec.field(default=None, name="config")
    rootfs: _RootFs | None = None


class Place(Protocol):
    """The files of an archive by their names in it. ``open`` raises KeyError for what is not a regular file in it."""

    def open(self, name: str) -> IO[bytes]: ...


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> IO[bytes]:
        if ".." in name.split("/") or name.startswith("/"):
            raise KeyError(name)
        try:
            fd = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise KeyError(name) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise KeyError(name)
        return os.fdopen(fd, "rb")


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {posixpath.normpath(member.name): member for member in archive.getmembers()}

    def open(self, name: str) -> IO[bytes]:
        """Older docker save writes a layer that comes twice as a link to the first."""
        place = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            member = self._members[place]
            if not member.issym():
                break
            place = posixpath.normpath(posixpath.join(posixpath.dirname(place), member.linkname))
        content = self._archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise KeyError(name)
        return content


class Bundle:
    """One image of an archive."""

    def __init__(self, place: Place, config: Config, layers: list[str], tags: list[str], digest: str) -> None:
        self._place = place
        self._layers = layers
        self.config = config
        self.tags = tags
        self.digest = digest

    def __len__(self) -> int:
        return len(self._layers)

    def diff(self, index: int) -> str:
        """What the image says is the digest of a layer's tar; "" when it does not."""
        said = self.config.rootfs.diff_ids if self.config.rootfs else []
        match = _DIGEST.fullmatch(said[index]) if index < len(said) else None
        return match[1] if match else ""

    @contextlib.contextmanager
    def layer(self, index: int) -> Iterator[IO[bytes]]:
        """0 is the lowest."""
        with _open(self._place, self._layers[index]) as content:
            yield content


@contextlib.contextmanager
def opened(source: Path, wanted: str) -> Iterator[Bundle | None]:
    """The image ``wanted`` in ``source`` ("" for the only one); None when ``source`` is no image archive. Raises ImageError."""
    try:
        if source.is_dir():
            yield _read(_Directory(source), wanted)
            return
        with tarfile.open(source) as archive:
            yield _read(_Tar(archive), wanted)
    except tarfile.ReadError as error:
        raise ImageError("neither a directory nor a tar") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ImageError(f"its tar is damaged: {error}") from error
    except msgspec.DecodeError as error:
        raise ImageError(f"its description cannot be read: {error}") from error


def _read(place: Place, wanted: str) -> Bundle | None:
    """docker save writes both descriptions since 25; the older one has the names."""
    if _has(place, "manifest.json") and not _has(place, "bin/sh"):
        return _docker(place, wanted)
    if _has(place, "index.json") and _has(place, "oci-layout"):
        return _oci(place, wanted)
    return None


def _has(place: Place, name: str) -> bool:
    with contextlib.suppress(KeyError), place.open(name):
        return True
    return False


def _open(place: Place, name: str) -> IO[bytes]:
    """Of an OCI blob the digest is compared before it is used."""
    try:
        content = place.open(name)
    except KeyError:
        raise ImageError(f"{name!r} is missing in it") from None
    directory, _, hexadecimal = name.rpartition("/")
    if directory == "blobs/sha256":
        if _sha256(content) != hexadecimal:
            raise ImageError(f"{name!r} does not have the digest that names it")
        content.seek(0)
    return content


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _json(place: Place, name: str) -> bytes:
    with _open(place, name) as content:
        data = content.read(_JSON_LIMIT + 1)
    if len(data) > _JSON_LIMIT:
        raise ImageError(f"{name!r} is larger than {_JSON_LIMIT >> 20} MiB")
    return data


class _DockerEntry(msgspec.Struct, frozen=True, kw_only=True):
    config: str = msgspec.field(name="Config")
    tags: list[str] | None = msgspec.field(default=None, name="RepoTags")
    layers: list[str] = msgspec.field(name="Layers")


def _docker(place: Place, wanted: str) -> Bundle:
    entries = msgspec.json.decode(_json(place, "manifest.json"), type=list[_DockerEntry])
    named = [(entry.tags or [], entry) for entry in entries]
    entry = _choose(named, wanted)
    return _bundle(place, entry.config, entry.layers, entry.tags or [])


def _choose(named: list[tuple[list[str], Any]], wanted: str) -> Any:
    """The only image, or the one of that name."""
    if len(named) == 1:
        return named[0][1]
    found = [entry for tags, entry in named if wanted and wanted in {_full(tag) for tag in tags}]
    if not found:
        known = ", ".join(sorted(tag for tags, _ in named for tag in tags)) or "without names"
        raise ImageError(f"it holds {len(named)} images ({known}); name one of them")
    return found[0]


def _full(tag: str) -> str:
    try:
        return normalize(tag)
    except ImageError:
        return tag


class _Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    platform: dict[str, Any] = msgspec.field(default_factory=dict)


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An index has ``manifests``; a manifest has ``config`` and ``layers``."""

    manifests: list[_Descriptor] | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] = msgspec.field(default_factory=list)


def _oci(place: Place, wanted: str) -> Bundle:
    index = msgspec.json.decode(_json(place, "index.json"), type=_Manifest)
    named = [([*_tags(entry)], entry) for entry in index.manifests or []]
    if not named:
        raise ImageError("it holds no image")
    chosen = _choose(named, wanted)
    tags = _tags(chosen)
    for _ in range(_MOST_LINKS):
        manifest = msgspec.json.decode(_json(place, _blob(chosen.digest)), type=_Manifest)
        if manifest.manifests is None:
            break
        chosen = _of_this_machine(manifest.manifests)
    if manifest.config is None:
        raise ImageError("it has no image configuration")
    layers = [_blob(layer.digest) for layer in manifest.layers]
    return _bundle(place, _blob(manifest.config.digest), layers, tags)


def _tags(entry: _Descriptor) -> list[str]:
    names = [entry.annotations.get(_FULL_NAME, ""), entry.annotations.get(_REF_NAME, "")]
    return [name for name in names if name]


def _blob(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ImageError(f"{digest!r} is no sha256 digest")
    return f"blobs/sha256/{match[1]}"


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _of_this_machine(entries: list[_Descriptor]) -> _Descriptor:
    own = [
        e
        for e in entries
        if e.platform.get("architecture") == _architecture() and e.platform.get("os") == "linux"
    ]
    if not own:
        raise ImageError(f"it is for other machines; this one is linux/{_architecture()}")
    return own[0]


def _bundle(place: Place, config_name: str, layers: list[str], tags: list[str]) -> Bundle:
    data = _json(place, config_name)
    config = msgspec.json.decode(data, type=Config)
    if config.os != "linux" or config.architecture not in {"", _architecture()}:
        raise ImageError(
            f"it is for {config.os}/{config.architecture}; this machine is linux/{_architecture()}"
        )
    if len(layers) > _MOST_LAYERS:
        raise ImageError(f"it has {len(layers)} layers, more than {_MOST_LAYERS}")
    return Bundle(place, config, layers, tags, hashlib.sha256(data).hexdigest())
