"""The layer store: what is shared, what is hidden, what is refused."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from stockade.lab.images import blobs
from stockade.lab.images.blobs import Bounds
from stockade.lab.images.catalog import Catalog
from stockade.lab.images.image import ImageError

from .test_bundle import CONFIG, HARDLINK, LOWER, docker, entry, load, merged, oci, tar

BASE = tar(
    entry("tmp"),
    entry("etc"),
    entry("etc/conf", "base"),
    entry("etc/deep"),
    entry("etc/deep/a", "a"),
    entry("etc/deep/b", "b"),
)


def layers_of(catalog: Catalog, name: str) -> list[str]:
    image = catalog.resolve(name)
    return [Path(layer).name for layer in reversed((image.root, *image.below))]


def config(*layers: bytes) -> dict:
    diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    return {**CONFIG, "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}


def test_a_common_base_is_stored_once_and_not_read_again(tmp_path) -> None:
    one, two = tar(entry("one", "1")), tar(entry("two", "2"))
    catalog, _ = load(tmp_path, docker(tmp_path / "a", BASE, one, config=config(BASE, one), tags=["a:1"]))
    read = []
    unpack = blobs.plain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "plain", lambda *given: read.append(1) or unpack(*given))
        load(tmp_path, oci(tmp_path / "b", BASE, two, config=config(BASE, two), name="b:1"))
    assert len(read) == 1
    (base, first), (same, second) = layers_of(catalog, "a:1"), layers_of(catalog, "b:1")
    assert base == same
    assert first != second
    assert (merged(catalog, "b:1") / "etc/conf").read_text() == "base"
    catalog.remove("a:1")
    catalog.prune()
    kept = {path.name for path in (tmp_path / "state/images/layers").iterdir()}
    assert kept == {base, second}


def test_the_same_layer_over_another_base_is_another(tmp_path) -> None:
    """What it hides depends on what is below."""
    upper = tar(entry("etc/.wh..wh..opq", ""), entry("etc/new", "n"))
    catalog, root = load(tmp_path, docker(tmp_path / "a", BASE, upper, config={}, tags=["a:1"]))
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["new"]
    _, root = load(tmp_path, docker(tmp_path / "b", upper, config={}, tags=["b:1"]))
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["new"]
    assert layers_of(catalog, "a:1")[-1] != layers_of(catalog, "b:1")[-1]


def test_an_opaque_directory_hides_below_itself_too(tmp_path) -> None:
    upper = tar(entry("etc/deep/b", "mine"), entry("etc/.wh..wh..opq", ""))
    _, root = load(tmp_path, docker(tmp_path / "a", BASE, upper, config={}))
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == ["etc/deep/b"]


def test_a_removed_directory_that_is_made_anew_is_empty(tmp_path) -> None:
    upper = tar(entry("etc/deep"), entry("etc/deep/c", "c"), entry("etc/.wh.deep", ""))
    _, root = load(tmp_path, docker(tmp_path / "a", BASE, upper, config={}))
    assert sorted(path.name for path in (root / "etc/deep").iterdir()) == ["c"]


def test_whiteouts_have_the_kernels_form_and_are_only_where_something_is(tmp_path) -> None:
    upper = tar(entry("etc/.wh.conf", ""), entry("etc/.wh.nothing", ""))
    catalog, root = load(tmp_path, docker(tmp_path / "a", BASE, upper, config={}, tags=["a:1"]))
    assert not (root / "etc/conf").exists()
    (found,) = Path(catalog.resolve("a:1").root, "etc").iterdir()
    assert (found.name, stat.S_ISCHR(found.stat().st_mode), found.stat().st_rdev) == ("conf", True, 0)
    third = tar(entry("etc/conf", "again"))
    _, root = load(tmp_path, docker(tmp_path / "b", BASE, upper, third, config={}, tags=["b:1"]))
    assert (root / "etc/conf").read_text() == "again"


def test_directories_a_layer_does_not_list_keep_their_modes(tmp_path) -> None:
    wide, _ = entry("tmp")
    wide.mode = 0o1777
    _, root = load(tmp_path, docker(tmp_path / "a", tar((wide, b"")), tar(entry("tmp/x", "x")), config={}))
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777


def test_a_hard_link_to_a_file_below_is_a_file(tmp_path) -> None:
    upper = tar(entry("bin/third", kind=HARDLINK, link="bin/app"))
    _, root = load(tmp_path, docker(tmp_path / "a", LOWER, upper, config={}))
    assert (root / "bin/third").read_text() == "old"
    assert (root / "bin/third").stat().st_mode == (root / "bin/app").stat().st_mode
    assert (root / "bin/third").stat().st_nlink == 1


def test_a_layer_that_is_not_what_the_configuration_names(tmp_path) -> None:
    with pytest.raises(ImageError, match="layer 2 does not have the digest"):
        load(tmp_path, docker(tmp_path / "a", BASE, LOWER, config=config(BASE, BASE + bytes(512))))
    assert not Catalog(tmp_path / "state").list()


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_layers_compressed_with_zstd(tmp_path) -> None:
    packed = subprocess.run(["zstd", "-q"], input=LOWER, capture_output=True, check=True).stdout
    _, root = load(tmp_path, docker(tmp_path / "a", packed, config=config(LOWER)))
    assert (root / "bin/app").read_text() == "old"
    with pytest.raises(ImageError, match="damaged"):
        load(tmp_path, docker(tmp_path / "b", packed[: len(packed) // 2], config={}, tags=["b:1"]))


def test_without_zstd_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(blobs, "_zstd_module", lambda: None)
    with pytest.raises(ImageError, match="apt-get install zstd"):
        load(tmp_path, docker(tmp_path / "a", b"\x28\xb5\x2f\xfd" + bytes(600), config={}))


def test_an_image_is_bounded_over_all_its_layers(tmp_path) -> None:
    layers = [tar(*(entry(f"{layer}/{number}", "12345678") for number in range(10))) for layer in "ab"]
    source = docker(tmp_path / "image", *layers, config={})
    for bounds, text in ((Bounds(entries=19), "more than 19 files"), (Bounds(size=159), "larger than 0 MiB")):
        with pytest.raises(ImageError, match=text):
            Catalog(tmp_path / "state").load("x", source, bounds)
    Catalog(tmp_path / "state").load("x", source, Bounds(160, 20))
    (tmp_path / "tree").mkdir()
    for number in range(3):
        (tmp_path / "tree" / str(number)).write_text("x")
    with pytest.raises(ImageError, match="more than 2 files"):
        Catalog(tmp_path / "state").load("y", tmp_path / "tree", Bounds(entries=2))
    (tmp_path / "tree.tar").write_bytes(layers[0])
    with pytest.raises(ImageError, match="more than 2 files"):
        Catalog(tmp_path / "state").load("y", tmp_path / "tree.tar", Bounds(entries=2))


class Zeros(io.RawIOBase):
    """A header, and then for ever what it announces."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.given = 0

    def seek(self, at: int, _: int = 0) -> int:
        self.given = at
        return at

    def read(self, size: int = -1) -> bytes:
        data = self._head[self.given : self.given + size].ljust(size, b"\0")
        self.given += size
        return data


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (tarfile.XHDTYPE, "header"),
        (tarfile.XGLTYPE, "header"),
        (tarfile.GNUTYPE_LONGNAME, "header"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
    ],
)
def test_headers_that_would_fill_the_memory(kind, text) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 8 << 30
    source = Zeros(info.tobuf(tarfile.GNU_FORMAT))
    with (
        pytest.raises(ImageError, match=text),
        blobs.plain(source, Bounds()) as plain,
        blobs.opened_tar(plain) as archive,
    ):
        list(blobs.members(archive, Bounds()))
    assert source.given < 1 << 20


def test_what_unpacks_without_end_is_left(tmp_path) -> None:
    """A tar of headers alone, or with padding of any length."""
    source = Zeros(tarfile.TarInfo("x").tobuf())
    bounds = Bounds(size=1 << 20, entries=10)
    with blobs.plain(source, bounds) as plain, pytest.raises(ImageError, match="unpacks to more"):
        plain.rest()
    assert source.given < 2 << 20
