"""Options that several commands share."""

from __future__ import annotations

from typing import Any

import click

from stockade.cli.failure import Failure
from stockade.lab.paths import LabPaths, UnsafeStateError


class LabName(click.ParamType[Any]):
    """A lab's name on the command line, its paths in the program."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LabPaths:
        if isinstance(value, LabPaths):
            return value
        try:
            paths = LabPaths.of(str(value))
            paths.check()
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except UnsafeStateError as error:
            raise Failure(str(error)) from error
        return paths


lab_name = click.option(
    "--name", type=LabName(), default="lab", show_default=True, envvar="STOCKADE_LAB", help="Which lab."
)


def refuse_name_with_all() -> None:
    """``--all`` beside a ``--name`` of the command line (a name of the environment is only a default)."""
    context = click.get_current_context()
    if context.get_parameter_source("name") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("give --name or --all, not both")
