"""``stockade demo``: a lab, the recipe, kubectl, and everything cleaned up again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from stockade.cli.failure import Failure
from stockade.lab.paths import LabPaths

WIDTH = 118  # of output that goes to a file


@click.command("demo", epilog="Example:  stockade demo --svg docs/demo.svg")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Also write the run as a picture."
)
@click.option("--kubectl", type=click.Path(exists=True, dir_okay=False), help="Which kubectl to drive.")
def command(svg: Path | None, kubectl: str | None) -> None:
    """Play the recipe "DENY egress traffic from an application" with real kubectl in a lab of its own.

    Exit status 0 when every connection was allowed or denied as the recipe says.
    """
    from rich.console import Console  # noqa: PLC0415 - only here

    from stockade.lab.demo.play import Player  # noqa: PLC0415

    program = kubectl or _find_kubectl()
    paths = LabPaths.of(f"demo-{os.getpid()}")
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    started = time.monotonic()
    _stockade("up", "--name", paths.name, "--fresh")
    player = Player(console, kubectl=program, kubeconfig=paths.kubeconfig)
    try:
        player.play(f"a cluster after {time.monotonic() - started:.1f} s")
    finally:
        _stockade("down", "--name", paths.name)
    player.finish(f"\n[dim]# the lab is gone; {time.monotonic() - started:.0f} s in all[/dim]", svg)
    if player.failures:
        raise Failure("the recipe did not play as written: " + "; ".join(player.failures))


def _find_kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise Failure("kubectl was not found; install it or name it with --kubectl")
    return found


def _stockade(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *arguments], stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
