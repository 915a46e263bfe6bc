"""``stockade image``: what a lab's pods may run instead of the built-in stand-ins."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from stockade.cli.failure import Failure
from stockade.lab.images.blobs import Bounds
from stockade.lab.images.catalog import Catalog
from stockade.lab.images.image import ImageError
from stockade.lab.paths import UnsafeStateError, make_state_root, running_labs, state_root
from stockade.lab.user_namespace import enter_with_ranges


@click.group("image")
def command() -> None:
    """Load, list and remove images for a lab's pods. All labs of a user share them."""


@command.command("load", epilog="Example:  docker save my-app:1.2 -o app.tar && stockade image load app.tar")
@click.argument("name", metavar="[NAME]")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path), metavar="PATH")
@click.option("--max-size", default=20.0, metavar="GIB", help="Refuse what unpacks to more.  [default: 20]")
@click.option(
    "--max-files", default=1_000_000, metavar="N", help="Refuse more files than that.  [default: 1000000]"
)
def load(name: str, path: Path | None, max_size: float, max_files: int) -> None:
    """Store PATH as image NAME.

    PATH is what docker save or an OCI tool wrote (a tar, or a directory in OCI layout), or a root file system (a directory or a tar).
    Without NAME the image keeps the name that the archive gives it.
    """
    source = path or Path(name)
    if not source.exists():
        raise Failure(f"{source}: no such file or directory")
    with _told():
        loaded = _catalog().load(name if path else "", source, Bounds(int(max_size * (1 << 30)), max_files))
    click.echo(f"image {name if path else loaded.reference} loaded", err=True)
    _prune()


@command.command("list", epilog="Example:  stockade image list")
def list_images() -> None:
    """List loaded images, with what they take on disk, and built-in stand-ins.

    What several images have in common is stored once: SHARED. What would be free without the image is UNIQUE.
    """
    catalog = _catalog()
    images = catalog.list()
    uses = Counter(
        layer.name for image in images for layer in {layer.name: layer for layer in image.layers}.values()
    )
    rows = [("IMAGE", "FROM", "SIZE", "SHARED", "UNIQUE")] if images else []
    for image in images:
        layers = {layer.name: layer for layer in image.layers}.values()
        shared = sum(layer.size for layer in layers if uses[layer.name] > 1)
        unique = sum(layer.size for layer in layers if uses[layer.name] == 1)
        rows.append((image.reference, "loaded", _size(shared + unique), _size(shared), _size(unique)))
    rows += [(name, "built-in stand-in", "", "", "") for name in catalog.stand_ins()]
    for row in rows:
        click.echo("\t".join(row).rstrip())


def _size(number: int) -> str:
    return f"{number / 1e6:.1f}MB" if number >= 100_000 else f"{number / 1e3:.1f}kB"


@command.command("rm", epilog="Example:  stockade image rm my-app:1.2")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove(names: tuple[str, ...]) -> None:
    """Remove loaded images. Containers that use one keep it until their labs are down."""
    with _told():
        for name in names:
            _catalog().remove(name)
            click.echo(f"image {name} removed", err=True)
    _prune()


@command.command("pull", epilog="Example:  stockade image pull docker.io/library/alpine:3.20")
@click.argument("name")
def pull(name: str) -> None:
    """Fetch image NAME from its registry, with skopeo."""
    from stockade.lab.images.registry import fetch  # noqa: PLC0415 - only here

    with _told(), tempfile.TemporaryDirectory(prefix="stockade-pull-") as directory:
        archive = Path(directory) / "image.tar"
        fetch(name, archive)
        _catalog().load(name, archive)
    click.echo(f"image {name} loaded", err=True)


def _prune() -> None:
    """What containers use stays: theirs are labs that run."""
    if not running_labs():
        _catalog().prune()


@contextmanager
def _told() -> Iterator[None]:
    try:
        make_state_root()
        enter_with_ranges()  # an image's files belong to several users
        yield
    except (ImageError, UnsafeStateError) as error:
        raise Failure(str(error)) from error


def _catalog() -> Catalog:
    return Catalog(state_root())
