"""``stockade image``: root file systems that a lab's pods may use instead of the built-in stand-ins."""

from __future__ import annotations

from pathlib import Path

import click

from stockade.cli.failure import Failure
from stockade.lab.images.catalog import Catalog
from stockade.lab.images.image import ImageError
from stockade.lab.paths import UnsafeStateError, make_state_root, state_root


@click.group("image")
def command() -> None:
    """Load and list root file systems for a lab's pods."""


@command.command("load", epilog="Example:  stockade image load my-app:1.2 ./rootfs.tar")
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def load(name: str, path: Path) -> None:
    """Store PATH (a root-fs directory or a tar of one) as image NAME."""
    try:
        make_state_root()
        _catalog().load(name, path)
    except (ImageError, UnsafeStateError) as error:
        raise Failure(str(error)) from error
    click.echo(f"image {name} loaded", err=True)


@command.command("list", epilog="Example:  stockade image list")
def list_images() -> None:
    """List loaded images and built-in stand-ins."""
    catalog = _catalog()
    for image in catalog.list():
        click.echo(f"{image.reference}\tloaded")
    for name in catalog.stand_ins():
        click.echo(f"{name}\tbuilt-in stand-in")


def _catalog() -> Catalog:
    return Catalog(state_root())
