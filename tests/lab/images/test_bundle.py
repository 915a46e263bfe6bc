"""Images as docker save and OCI tools write them: layers, whiteouts, configuration, and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import stat
import tarfile
import uuid
from pathlib import Path

import pytest

from stockade.lab.images.catalog import Catalog
from stockade.lab.images.image import ImageError
from stockade.lab.node import sandbox

OWN = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
CONFIG = {
    "architecture": OWN,
    "os": "linux",
    "config": {
        "Entrypoint": ["/bin/app"],
        "Cmd": ["serve"],
        "Env": ["A=1=2", "PATH=/bin"],
        "WorkingDir": "/srv",
        "User": "app",
    },
}
SYMLINK, HARDLINK = tarfile.SYMTYPE, tarfile.LNKTYPE


def entry(name, content=None, kind=tarfile.REGTYPE, link="", mode=0o644):
    """A member; a directory when nothing but the name is given."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None and kind == tarfile.REGTYPE else kind
    info.linkname, info.mode = link, 0o755 if info.isdir() else mode
    data = content if isinstance(content, bytes) else (content or "").encode()
    info.size = len(data) if info.isreg() else 0
    return info, data


def tar(*entries) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def docker(path: Path, *layers: bytes, config=CONFIG, tags=("team/app:1",), manifest=None, more=()) -> Path:
    """What docker save writes."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    described = manifest or [{"Config": "config.json", "RepoTags": list(tags), "Layers": names}]
    files = [entry(name, layer) for name, layer in zip(names, layers, strict=True)]
    files += [entry("config.json", json.dumps(config)), entry("manifest.json", json.dumps(described)), *more]
    path.write_bytes(tar(*files))
    return path


def oci(root: Path, *layers: bytes, config=CONFIG, by_platform=False, name="team/app:1") -> Path:
    """An OCI image layout as a directory."""
    (root / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes) -> str:
        hexadecimal = hashlib.sha256(data).hexdigest()
        (root / "blobs/sha256" / hexadecimal).write_bytes(data)
        return f"sha256:{hexadecimal}"

    manifest = {
        "config": {"digest": blob(json.dumps(config).encode())},
        "layers": [{"digest": blob(gzip.compress(layer))} for layer in layers],
    }
    digest = blob(json.dumps(manifest).encode())
    if by_platform:
        other = blob(json.dumps({"layers": []}).encode())
        entries = [
            {"digest": other, "platform": {"architecture": "s390x", "os": "linux"}},
            {"digest": digest, "platform": {"architecture": OWN, "os": "linux"}},
        ]
        digest = blob(json.dumps({"manifests": entries}).encode())
    described = {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": name}}
    (root / "index.json").write_text(json.dumps({"manifests": [described]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return root


LOWER = tar(
    entry("bin"),
    entry("bin/app", "old", mode=0o755),
    entry("bin/twin", kind=HARDLINK, link="bin/app"),
    entry("etc"),
    entry("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"),
    entry("gone"),
    entry("gone/with/everything", "x"),
    entry("dir"),
    entry("dir/below", "x"),
    entry("was-link", kind=SYMLINK, link="/etc"),
    entry("was-dir"),
    entry("was-dir/x", "x"),
)
UPPER = tar(
    entry("dir/above", "y"),
    entry("dir/.wh..wh..opq", ""),
    entry(".wh.gone", ""),
    entry("bin/app", "new", mode=0o755),
    entry("was-link"),
    entry("was-link/now-a-directory", "z"),
    entry("was-dir", "a file"),
    entry(".wh..wh.plnk", ""),
)


def load(tmp_path: Path, source: Path, name: str = "") -> tuple[Catalog, Path]:
    catalog = Catalog(tmp_path / "state")
    loaded = catalog.load(name, source)
    return catalog, merged(catalog, loaded.reference)


def merged(catalog: Catalog, reference: str) -> Path:
    """What a container sees, where there is no overlayfs."""
    image = catalog.resolve(reference)
    target = Path(image.root).parents[2] / f"seen-{uuid.uuid4().hex}"
    target.mkdir()
    for layer in reversed((image.root, *image.below)):
        sandbox._lay_over(layer, str(target))
    target.chmod(stat.S_IMODE(Path(image.root).stat().st_mode))
    return target


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize("write", [docker, oci], ids=["docker-archive", "OCI layout"])
def test_layers_lie_over_each_other(tmp_path, write) -> None:
    catalog, root = load(tmp_path, write(tmp_path / "image", LOWER, UPPER))
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    assert files == ["bin/app", "bin/twin", "dir/above", "etc/passwd", "was-dir", "was-link/now-a-directory"]
    assert (root / "bin/app").read_text() == "new"
    assert (root / "bin/twin").read_text() == "old", "written through a hard link"
    assert (root / "was-dir").read_text() == "a file"
    image = catalog.resolve("team/app:1")
    assert (image.entrypoint, image.command) == (("/bin/app",), ("serve",))
    assert image.environment == {"A": "1=2", "PATH": "/bin"}
    assert (image.working_directory, image.uid, image.gid) == ("/srv", 1000, 1001)


def test_whiteouts_hide_lower_layers_only(tmp_path) -> None:
    """Also when they come after the layer's own files (image-spec, layer.md)."""
    upper = tar(entry("dir/new", "n"), entry("dir/.wh.new", ""), entry("dir/.wh..wh..opq", ""))
    _, root = load(tmp_path, docker(tmp_path / "image", LOWER, upper))
    assert names(root / "dir") == ["new"]


def test_oci_as_a_tar_and_by_platform(tmp_path) -> None:
    layout = oci(tmp_path / "layout", LOWER, by_platform=True)
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(layout, ".")
    _, root = load(tmp_path, tmp_path / "image.tar", "mine")
    assert (root / "bin/app").read_text() == "old"


def test_a_name_is_needed_where_the_archive_has_none(tmp_path) -> None:
    with pytest.raises(ImageError, match="does not say its name"):
        load(tmp_path, docker(tmp_path / "image", LOWER, tags=()))
    with pytest.raises(ImageError, match="does not say its name"):
        load(tmp_path, oci(tmp_path / "layout", LOWER, name="latest"))
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("x")
    with pytest.raises(ImageError, match="has no name of its own"):
        load(tmp_path, tmp_path / "root")


def test_one_of_several_by_its_name(tmp_path) -> None:
    manifest = [
        {"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar"]},
        {"Config": "config.json", "RepoTags": ["b:1"], "Layers": ["1/layer.tar"]},
    ]
    layers = (tar(entry("a", "a")), tar(entry("b", "b")))
    source = docker(tmp_path / "image", *layers, manifest=manifest, config={"config": {}})
    _, root = load(tmp_path, source, "b:1")
    assert names(root) == ["b"]
    with pytest.raises(ImageError, match=r"holds 2 images \(a:1, b:1\)"):
        load(tmp_path, source, "c:1")


def test_a_layer_that_is_a_link_to_another(tmp_path) -> None:
    """Older docker save."""
    manifest = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar", "9/layer.tar"]}]
    link = entry("9/layer.tar", kind=SYMLINK, link="../0/layer.tar")
    source = docker(tmp_path / "image", tar(entry("a", "a")), manifest=manifest, config={}, more=[link])
    _, root = load(tmp_path, source)
    assert names(root) == ["a"]


def test_a_layer_that_is_a_link_to_this_machine_is_missing(tmp_path) -> None:
    manifest = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["9/layer.tar"]}]
    for target in ("/etc/hostname", "../../../../../etc/hostname", "layer.tar"):
        link = entry("9/layer.tar", kind=SYMLINK, link=target)
        source = docker(tmp_path / "image", tar(), manifest=manifest, config={}, more=[link])
        with pytest.raises(ImageError, match="is missing in it"):
            load(tmp_path, source)


HOSTILE = {
    "parent": [tar(entry("../outside", "x"))],
    "parent inside": [tar(entry("a/../../outside", "x"))],
    "through a link of the layer below": [
        tar(entry("up", kind=SYMLINK, link="..")),
        tar(entry("up/outside", "x")),
    ],
    "hard link to the host": [
        tar(entry("x", "x")),
        tar(entry("s", kind=HARDLINK, link="../../../../etc/hostname")),
    ],
    "hard link through a link": [
        tar(entry("l", kind=SYMLINK, link="/etc")),
        tar(entry("s", kind=HARDLINK, link="l/hostname")),
    ],
    "whiteout of the parent": [tar(entry("x", "x")), tar(entry(".wh...", ""))],
    "whiteout of itself": [tar(entry("x", "x")), tar(entry(".wh..", ""))],
    "whiteout outside": [tar(entry("x", "x")), tar(entry("../../.wh.victim", ""))],
    "whiteout through a link": [
        tar(entry("up", kind=SYMLINK, link="../..")),
        tar(entry("up/.wh.victim", "")),
    ],
    "opaque outside": [tar(entry("x", "x")), tar(entry("../../.wh..wh..opq", ""))],
    "opaque through a link": [
        tar(entry("up", kind=SYMLINK, link="../..")),
        tar(entry("up/.wh..wh..opq", "")),
    ],
}


@pytest.mark.parametrize("layers", HOSTILE.values(), ids=HOSTILE)
def test_hostile_layers_stay_inside(tmp_path, layers) -> None:
    victim = tmp_path / "state/images/victim"
    victim.parent.mkdir(parents=True)
    victim.write_text("here")
    with pytest.raises(ImageError, match="not usable as an image"):
        load(tmp_path, docker(tmp_path / "image", *layers))
    assert victim.read_text() == "here"
    assert not list(tmp_path.rglob("outside"))
    assert not list((tmp_path / "state").rglob(".partial-*"))
    assert not Catalog(tmp_path / "state").list()


def test_an_absolute_name_and_links_that_are_replaced_stay_inside(tmp_path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    lower = tar(
        entry("hosts", kind=SYMLINK, link=str(outside)), entry("etc", kind=SYMLINK, link=str(tmp_path))
    )
    upper = tar(entry("/absolute", "x"), entry("hosts", "mine"), entry("etc"), entry("etc/inside", "mine"))
    _, root = load(tmp_path, docker(tmp_path / "image", lower, upper, config={}))
    assert (root / "absolute").read_text() == "x"
    assert not (root / "hosts").is_symlink()
    assert (root / "etc/inside").read_text() == "mine"
    assert not (tmp_path / "inside").exists()
    assert outside.read_text() == "untouched"


def test_special_files_are_left_out(tmp_path) -> None:
    layer = tar(
        entry("disk", kind=tarfile.BLKTYPE),
        entry("null", kind=tarfile.CHRTYPE),
        entry("pipe", kind=tarfile.FIFOTYPE),
        entry("file", "x"),
    )
    _, root = load(tmp_path, docker(tmp_path / "image", layer, config={}))
    assert names(root) == ["file"]
    assert stat.S_IMODE(root.stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["etc/passwd", "etc"])
def test_users_are_never_read_from_this_machine(tmp_path, name) -> None:
    """/etc/passwd of the image may be a link to the host's."""
    layer = tar(entry(name, kind=SYMLINK, link=f"/{name}"))
    with pytest.raises(ImageError, match="is not in its /etc/passwd"):
        load(tmp_path, docker(tmp_path / "image", layer, config={"config": {"User": "daemon"}}))


@pytest.mark.parametrize(
    ("user", "ids"),
    [("", (0, 0)), ("7", (7, 0)), ("1000", (1000, 1001)), ("app:0", (1000, 0)), ("7:8", (7, 8))],
)
def test_user_names_and_numbers(tmp_path, user, ids) -> None:
    catalog, _ = load(tmp_path, docker(tmp_path / "image", LOWER, config={"config": {"User": user}}))
    image = catalog.resolve("team/app:1")
    assert (image.uid, image.gid) == ids


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (
            lambda root: [path.write_bytes(b"{}") for path in (root / "blobs/sha256").iterdir()],
            "digest that names it",
        ),
        (lambda root: [path.unlink() for path in (root / "blobs/sha256").iterdir()], "is missing in it"),
        (
            lambda root: (root / "index.json").write_text(
                '{"manifests": [{"digest": "sha256:../../etc/passwd"}]}'
            ),
            "no sha256 digest",
        ),
        (lambda root: (root / "index.json").write_text('{"manifests": []}'), "holds no image"),
        (lambda root: (root / "index.json").write_text("[" * 100_000), "cannot be read"),
        (lambda root: (root / "index.json").write_text(" " * (5 << 20)), "larger than 4 MiB"),
    ],
)
def test_damaged_layouts_say_what_is_wrong(tmp_path, damage, text) -> None:
    layout = oci(tmp_path / "layout", LOWER)
    damage(layout)
    with pytest.raises(ImageError, match=text):
        load(tmp_path, layout)


def test_an_image_for_other_machines_and_unknown_compression(tmp_path) -> None:
    with pytest.raises(ImageError, match="it is for linux/s390x; this machine is linux/"):
        load(tmp_path, docker(tmp_path / "a", LOWER, config=CONFIG | {"architecture": "s390x"}))
    with pytest.raises(ImageError, match=r"layer 1 is no tar, or damaged|install the program zstd"):
        load(tmp_path, docker(tmp_path / "b", b"\x28\xb5\x2f\xfd" + bytes(600)))


def test_a_truncated_archive(tmp_path) -> None:
    whole = gzip.compress(docker(tmp_path / "whole", LOWER).read_bytes())
    (tmp_path / "image").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"damaged|not usable"):
        load(tmp_path, tmp_path / "image")


def test_remove(tmp_path) -> None:
    catalog, _ = load(tmp_path, docker(tmp_path / "image", LOWER))
    root = Path(catalog.resolve("team/app:1").root)
    catalog.remove("team/app:1")
    assert catalog.list() == []
    assert root.exists(), "a container may still use it"
    catalog.prune()
    assert not root.exists()
    with pytest.raises(ImageError, match="no image 'team/app:1' is loaded"):
        catalog.remove("team/app:1")
    with pytest.raises(ImageError, match="built-in stand-in"):
        catalog.remove("nginx")


def test_pruning_leaves_a_load_under_way_alone(tmp_path) -> None:
    catalog, _ = load(tmp_path, docker(tmp_path / "image", LOWER))
    root = Path(catalog.resolve("team/app:1").root)
    partial = tmp_path / "state/images/layers/.partial-0"
    partial.mkdir()
    with catalog._store.loading():
        catalog.prune()
        assert partial.is_dir()
    catalog.prune()
    assert not partial.exists(), "nobody loads: it is what a killed load left"
    assert root.is_dir()


def test_directories_that_are_not_listed_are_for_everybody(tmp_path) -> None:
    before = os.umask(0o077)
    try:
        _, root = load(tmp_path, docker(tmp_path / "image", tar(entry("a/b/c", "x")), config={}))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [
        0o755,
        0o755,
        0o644,
    ]
