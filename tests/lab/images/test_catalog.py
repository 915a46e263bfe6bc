"""Images: names, stand-ins, and loading without a way out of the image's directory."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stockade.lab.images import builtin
from stockade.lab.images.catalog import Catalog
from stockade.lab.images.image import ImageError, normalize, short_name


@pytest.mark.parametrize(
    ("reference", "full", "short"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx"),
        ("team/nginx", "docker.io/team/nginx:latest", "nginx"),
        ("localhost:5000/nginx", "localhost:5000/nginx:latest", "nginx"),
        ("registry.example/a/b/alpine:3@sha256:00ff", "registry.example/a/b/alpine:3@sha256:00ff", "alpine"),
        ("busybox@sha256:00ff", "docker.io/library/busybox@sha256:00ff", "busybox"),
    ],
)
def test_references(reference, full, short) -> None:
    assert normalize(reference) == full
    assert short_name(reference) == short


@pytest.mark.parametrize("reference", ["", "UPPER/Case/x y", "a//b", "../x", "-x", "a:b:c"])
def test_invalid_references(reference) -> None:
    with pytest.raises(ImageError) as caught:
        normalize(reference)
    assert caught.value.reason == "InvalidImageName"


@pytest.mark.parametrize("name", builtin.NAMES)
def test_stand_in_is_complete_and_built_once(tmp_path, name) -> None:
    image = Catalog(tmp_path).resolve(f"{name}:1.2")
    root = Path(image.root)
    assert str((root / "bin/sh").readlink()) == "/bin/busybox"
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert (root / "usr/bin/wget").read_text().startswith("#!/bin/sh\n")
    assert not (root / "usr/bin/wget").is_symlink()
    assert (root / "opt/stockade/standins/wget.pyc").stat().st_size > 1000
    assert f"stand-in for {name}" in image.note
    assert {target for _, target in image.binds} >= {"/bin/busybox"}
    for source, _ in image.binds:
        assert Path(source).exists()
    before = root.stat().st_ino
    assert Path(Catalog(tmp_path).resolve(name).root).stat().st_ino == before


def test_stand_in_shows_no_other_host_directory(tmp_path) -> None:
    for source, _ in Catalog(tmp_path).resolve("alpine").binds:
        assert (
            Path(source).name == "busybox"
            or source.startswith(("/usr/lib", "/lib"))
            or "python" in Path(source).name
            or (Path(source) / "bin").is_dir()
        )


def test_without_busybox(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ImageError, match="apt-get install busybox"):
        Catalog(tmp_path).resolve("alpine")


def test_unknown_image_says_what_to_do(tmp_path) -> None:
    with pytest.raises(ImageError, match="stockade image load team/app:v1 PATH") as caught:
        Catalog(tmp_path).resolve("team/app:v1")
    assert "agnhost, alpine, " in str(caught.value)
    assert caught.value.reason == "ErrImagePull"


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, content: bytes = b""
) -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info, content


def test_load_tar(tmp_path) -> None:
    source = archive(
        tmp_path / "root.tar.gz",
        member("./bin", tarfile.DIRTYPE, mode=0o755),
        member("./bin/app", content=b"app", mode=0o755),
        member("./bin/again", tarfile.LNKTYPE, "./bin/app"),
        member("./bin/sh", tarfile.SYMTYPE, "/bin/app"),
        member("./dev/sda", tarfile.BLKTYPE),
        member("./pipe", tarfile.FIFOTYPE),
        member("./tmp", tarfile.DIRTYPE, mode=0o1777),
    )
    catalog = Catalog(tmp_path / "state")
    catalog.load("own/app:v1", source)
    image = catalog.resolve("docker.io/own/app:v1")
    root = Path(image.root)
    assert (root / "bin/app").read_bytes() == b"app" == (root / "bin/again").read_bytes()
    assert str((root / "bin/sh").readlink()) == "/bin/app"
    assert not os.path.lexists(root / "dev/sda")
    assert not os.path.lexists(root / "pipe")
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert [entry.reference for entry in catalog.list()] == ["docker.io/own/app:v1"]
    assert stat.S_IMODE((tmp_path / "state/images/loaded").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside", content=b"x")],
        [member("etc", tarfile.SYMTYPE, "/"), member("etc/outside", content=b"x")],
        [member("up", tarfile.SYMTYPE, ".."), member("up/outside", content=b"x")],
        [member("secret", tarfile.LNKTYPE, "../../../../../../../../../../etc/hostname")],
    ],
)
def test_load_refuses_ways_out(tmp_path, members) -> None:
    source = archive(tmp_path / "bad.tar.gz", *members)
    catalog = Catalog(tmp_path / "state")
    with pytest.raises(ImageError, match="not usable as a root file system"):
        catalog.load("bad", source)
    assert not list(tmp_path.rglob("outside"))
    assert not catalog.list()
    assert not list((tmp_path / "state").rglob(".partial-*"))


def test_load_directory_keeps_links_and_leaves_special_files_out(tmp_path) -> None:
    source = tmp_path / "root"
    (source / "bin").mkdir(parents=True)
    (source / "bin/app").write_text("app")
    (source / "bin/app").chmod(0o755)
    target = tmp_path / "host-file"
    target.write_text("host")
    target.chmod(0o600)
    (source / "bin/link").symlink_to(target)
    os.mkfifo(source / "pipe")
    catalog = Catalog(tmp_path / "state")
    catalog.load("own", source)
    root = Path(catalog.resolve("own").root)
    assert (root / "bin/link").is_symlink()
    assert os.access(root / "bin/app", os.X_OK)
    assert not (root / "pipe").exists()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.kernel
def test_what_is_mounted_in_a_directory_is_left_out(tmp_path) -> None:
    """/proc/kmsg is a regular file by its mode, and whoever reads it waits for the kernel's next message."""
    for name in ("etc", "mnt"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("root")
    mounted = 'mount -t tmpfs none root/mnt && mkdir root/mnt/deep && echo x >root/mnt/deep/file && exec "$@"'
    unpack = (
        "from pathlib import Path; from stockade.lab.images import archive, blobs;"
        "archive.unpack(Path('root'), Path('out'), blobs.Bounds())"
    )
    subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-c", unpack],
        cwd=tmp_path,
        check=True,
        timeout=30,
    )
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["etc", "etc/passwd", "mnt"]


def test_the_first_file_that_cannot_be_copied_ends_it_in_words(tmp_path, monkeypatch) -> None:
    def full(source: str, target: str, **_: object) -> None:
        copied.append(source)
        raise OSError(errno.ENOSPC, "No space left on device", source, None, target)

    copied: list[str] = []
    (tmp_path / "root").mkdir()
    for name in "ab":
        (tmp_path / "root" / name).write_text(name)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(ImageError) as caught:
        Catalog(tmp_path / "state").load("own", tmp_path / "root")
    assert [f"{source}: No space left on device" for source in copied] == [str(caught.value)]


def test_files_of_the_kernel_are_no_image(tmp_path) -> None:
    with pytest.raises(ImageError, match="files of the kernel"):
        Catalog(tmp_path / "state").load("own", Path("/proc"))


def test_loaded_image_comes_before_the_stand_in_and_is_replaced_whole(tmp_path) -> None:
    catalog = Catalog(tmp_path / "state")
    for text in ("one", "two"):
        source = tmp_path / text
        source.mkdir()
        (source / text).write_text(text)
        catalog.load("alpine", source)
    root = Path(catalog.resolve("alpine").root)
    assert [entry.name for entry in root.iterdir()] == ["two"]
    assert catalog.resolve("alpine:3.19").note.startswith("built-in")
    assert len(list(root.parent.iterdir())) == 2
    catalog.prune()
    assert [entry.name for entry in root.parent.iterdir()] == [root.name]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is empty"),
        (lambda path: path.write_text("no archive"), "not usable as an image or root file system"),
        (
            lambda path: archive(path, member("oci-layout"), member("index.json")),
            "description cannot be read",
        ),
    ],
)
def test_load_says_what_is_wrong(tmp_path, make, text) -> None:
    make(tmp_path / "source")
    with pytest.raises(ImageError, match=text):
        Catalog(tmp_path / "state").load("x", tmp_path / "source")


@pytest.mark.parametrize(
    "members",
    [
        [
            member("usr", tarfile.DIRTYPE),
            member("lib", tarfile.SYMTYPE, "usr"),
            member("lib/x", content=b"x"),
        ],
        [
            member("usr", tarfile.DIRTYPE),
            member("lib", tarfile.SYMTYPE, "usr"),
            member("lib", tarfile.DIRTYPE),
        ],
        [member("a/x", content=b"x"), member("b", tarfile.SYMTYPE, "a"), member("c", tarfile.LNKTYPE, "b/x")],
    ],
    ids=["file behind a link", "directory where a link is", "hard link through a link"],
)
def test_load_never_goes_through_a_link_of_the_archive(tmp_path, members) -> None:
    """Not even to a place inside: what a link leads to has been misjudged before."""
    with pytest.raises(ImageError, match="is a link in this archive"):
        Catalog(tmp_path / "state").load("bad", archive(tmp_path / "bad.tar.gz", *members))


def test_load_replaces_a_link_instead_of_writing_through_it(tmp_path) -> None:
    source = archive(
        tmp_path / "twice.tar.gz",
        member("etc/a", content=b"first"),
        member("etc/b", tarfile.SYMTYPE, "a"),
        member("etc/b", content=b"second"),
    )
    catalog = Catalog(tmp_path / "state")
    catalog.load("twice", source)
    etc = Path(catalog.resolve("twice").root) / "etc"
    assert ((etc / "a").read_text(), (etc / "b").read_text(), (etc / "b").is_symlink()) == (
        "first",
        "second",
        False,
    )


def test_two_labs_build_at_once(tmp_path, monkeypatch):
    """What another builds may have got its name between our two looks at it."""
    glob = Path.glob

    def stale(self, pattern):
        yield from glob(self, pattern)
        yield self / ".building-of-another"

    monkeypatch.setattr(Path, "glob", stale)
    assert Path(builtin.build("alpine", tmp_path / "store").root).is_dir()
