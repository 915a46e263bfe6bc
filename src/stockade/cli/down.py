"""``stockade down``: end a lab. The kernel takes its namespaces away with its first process."""

from __future__ import annotations

import contextlib
import os
import signal

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running, wait_unlocked


@click.command("down", epilog="Example:  stockade down --name t1")
@lab_name
def command(name: LabPaths) -> None:
    """Stop a lab and remove its files. Loaded images stay."""
    if not name.directory.exists():
        raise Failure(f"there is no lab named {name.name!r}")
    if is_running(name):
        _stop(name)
    name.remove()
    click.echo(f"lab {name.name!r} is gone", err=True)


def _stop(paths: LabPaths) -> None:
    """Ask, then insist. A pidfd makes sure that the process signalled is the one whose lock we saw."""
    try:
        process = os.pidfd_open(int(paths.pid.read_text()))
    except (OSError, ValueError) as error:
        raise Failure(f"cannot find the process of lab {paths.name!r}: {error}") from error
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if wait_unlocked(paths, seconds):
            return
    raise Failure(f"lab {paths.name!r} did not stop; see {paths.log}")
