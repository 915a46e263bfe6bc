"""``stockade check``: is this connection allowed? The exit status says it."""

from __future__ import annotations

import sys

import click
import msgspec

from stockade.analysis.steps import Path
from stockade.cli.question import arguments
from stockade.report.path_text import path_data
from stockade.report.terminal import visible


@click.command(
    "check",
    epilog="Examples:  stockade check pod/test svc/web:80\n\n           stockade check pod/test http://web:80/ -f manifests/",
)
@arguments
def command(path: Path, output: str) -> None:
    """Is a connection FROM a pod TO a pod, Service, address or URL allowed?

    A name or URL includes its DNS lookup. Exit status: 0 allowed (by every backend), 1 denied, 2 error.
    """
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(path_data(path))).decode())
    else:
        click.echo("allowed" if path.allowed else visible(f"denied: {path.cause}"))
    sys.exit(0 if path.allowed else 1)
