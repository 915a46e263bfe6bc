"""``stockade explain``: why, step by step, DNS first, and what the application would print."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from stockade.analysis.steps import Path
from stockade.cli.question import arguments_with
from stockade.report.path_text import patch_text, path_data, path_lines
from stockade.report.terminal import visible

STYLES: dict[str, dict[str, Any]] = {
    "ok": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "dim": {"dim": True},
    "warn": {"fg": "yellow"},
}


@click.command(
    "explain",
    epilog="Examples:  stockade explain pod/test http://web:80/\n\n"
    "           stockade explain pod/test www.example.com:443 -f manifests/ -o json\n\n"
    "           stockade explain pod/test http://web:80/ -o patch | kubectl apply -f -",
)
@arguments_with("patch")
def command(path: Path, output: str) -> None:
    """Why is a connection FROM a pod TO a pod, Service, address or URL allowed or denied?

    Walks the whole way: name lookup, Service, each backend, both directions. Ends with the smallest policy change that would allow
    it; -o patch prints only that. Exit status: 0 allowed, 1 denied, 2 error; with -o patch 0 when what is printed is
    all it takes.
    """
    if output == "patch":
        _patch(path)
    elif output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(path_data(path))).decode())
    else:
        for style, text in path_lines(path):
            click.echo(click.style(visible(text), **STYLES.get(style, {})))
    sys.exit(0 if path.allowed else 1)


def _patch(path: Path) -> None:
    """stdout is for kubectl; what a person should know stands there as comments, and on stderr when it stops the change."""
    click.echo(patch_text(path), nl=False)
    if path.remedy is None:
        click.echo("stockade: nothing to change, it is allowed already", err=True)
    elif not path.remedy.complete:
        for note in path.remedy.notes:
            click.echo(f"stockade: {visible(note)}", err=True)
    sys.exit(0 if path.remedy is None or path.remedy.complete else 1)
