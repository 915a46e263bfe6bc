"""Options that several commands share."""

from __future__ import annotations

from typing import Any

import click

from stockade.lab.paths import LabPaths


class LabName(click.ParamType[Any]):
    """A lab's name on the command line, its paths in the program."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LabPaths:
        if isinstance(value, LabPaths):
            return value
        try:
            return LabPaths.of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


lab_name = click.option(
    "--name", type=LabName(), default="lab", show_default=True, envvar="STOCKADE_LAB", help="Which lab."
)
