"""``stockade down``: end a lab, or what a crash left of it. The kernel takes its namespaces away with its first process."""

from __future__ import annotations

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.node.cgroups import remove_recorded
from stockade.lab.paths import LabPaths, remove_lock
from stockade.lab.processes import stop
from stockade.lab.user_namespace import enter_with_ranges


@click.command("down", epilog="Example:  stockade down --name t1")
@lab_name
def command(name: LabPaths) -> None:
    """Stop a lab and remove its files. Loaded images stay."""
    if not name.directory.exists():
        raise Failure(f"there is no lab named {name.name!r}")
    if not stop(name):
        raise Failure(f"lab {name.name!r} did not stop; see {name.log}")
    remove_recorded(name.cgroups)
    name.remove()
    if name.directory.exists() and enter_with_ranges():  # files of users that exist in the lab alone
        name.remove()
    remove_lock(name.starting)
    click.echo(f"lab {name.name!r} is gone", err=True)
