"""How a command gives up: one clear line on stderr, exit status 2."""

from __future__ import annotations

from typing import IO, Any

import click

NO_OBJECTS = "no objects in the manifests that were given"


class Failure(click.ClickException):
    """What is wrong and what to do, in one line."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002
        from stockade.report.terminal import visible  # noqa: PLC0415 - only when something failed

        click.echo(visible(f"stockade: {self.message}", keep="\n"), err=True)
