"""``stockade kubeconfig``: where a lab's kubeconfig is."""

from __future__ import annotations

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running


@click.command("kubeconfig", epilog='Example:  export KUBECONFIG="$(stockade kubeconfig --name t1)"')
@lab_name
@click.option("--raw", is_flag=True, help="Print the content (it holds the access token), not the path.")
def command(name: LabPaths, raw: bool) -> None:
    """Print the path of a running lab's kubeconfig."""
    if not is_running(name):
        raise Failure(f"no lab named {name.name!r} is running; start it with: stockade up --name {name.name}")
    click.echo(name.kubeconfig.read_text() if raw else str(name.kubeconfig), nl=not raw)
