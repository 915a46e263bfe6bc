"""``stockade explain``: why, step by step, DNS first, and what the application would print."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from stockade.analysis.steps import Path
from stockade.cli.question import arguments
from stockade.report.path_text import path_data, path_lines
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
    "           stockade explain pod/test www.example.com:443 -f manifests/ -o json",
)
@arguments
def command(path: Path, output: str) -> None:
    """Why is a connection FROM a pod TO a pod, Service, address or URL allowed or denied?

    Walks the whole way: name lookup, Service, each backend, both directions. Exit status: 0 allowed, 1 denied, 2 error.
    """
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(path_data(path))).decode())
    else:
        for style, text in path_lines(path):
            click.echo(click.style(visible(text), **STYLES.get(style, {})))
    sys.exit(0 if path.allowed else 1)
