"""``stockade down``: end a lab, or what a crash left of it. The kernel takes its namespaces away with its first process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name, refuse_name_with_all
from stockade.lab.node.cgroups import remove_recorded
from stockade.lab.paths import LabPaths, is_running, known_labs, remove_lock
from stockade.lab.processes import stop
from stockade.lab.user_namespace import enter_with_ranges


@click.command("down", epilog="Examples:  stockade down --name t1\n\n           stockade down --all")
@lab_name
@click.option("--all", "every", is_flag=True, help="All labs of this user.")
def command(name: LabPaths, every: bool) -> None:
    """Stop a lab and remove its files. Loaded images stay."""
    if not every:
        if not name.directory.exists():
            raise Failure(f"there is no lab named {name.name!r}")
        _down(name)
        _remove_others(name)
        return
    refuse_name_with_all()
    labs = known_labs()
    if not labs:
        click.echo("there is no lab", err=True)
    with ThreadPoolExecutor(max(1, len(labs))) as threads:
        ends = [threads.submit(_down, paths) for paths in labs]
    _remove_others(*labs)
    failed = [end.exception() for end in ends]
    if problems := [str(each) for each in failed if each is not None]:
        raise Failure("\n".join(problems))


def _down(paths: LabPaths) -> None:
    if not stop(paths):
        raise Failure(f"lab {paths.name!r} did not stop; see {paths.log}")
    remove_recorded(paths.cgroups)
    paths.remove()
    remove_lock(paths.starting)
    click.echo(f"lab {paths.name!r} is gone", err=True)


def _remove_others(*labs: LabPaths) -> None:
    """Files of users that exist in the labs alone. Not in a thread: none may be there who enters a user namespace."""
    left = [paths for paths in labs if paths.directory.exists() and not is_running(paths)]
    if left and enter_with_ranges():
        for paths in left:
            paths.remove()
