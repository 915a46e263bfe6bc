"""``stockade kubeconfig``: where a lab's kubeconfigs are."""

from __future__ import annotations

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.paths import LabPaths, is_running


@click.command(
    "kubeconfig", epilog='Example:  export KUBECONFIG="$(stockade kubeconfig --name t1 --user viewer)"'
)
@lab_name
@click.option(
    "--user",
    type=click.Choice(["admin", "viewer"]),
    default="admin",
    show_default=True,
    help="Whose: admin may do everything, viewer may look at everything but Secrets.",
)
@click.option("--certificate", is_flag=True, help="With a client certificate instead of a token.")
@click.option("--raw", is_flag=True, help="Print the content (it holds the credentials), not the path.")
def command(name: LabPaths, user: str, certificate: bool, raw: bool) -> None:
    """Print the path of a running lab's kubeconfig."""
    if not is_running(name):
        raise Failure(f"no lab named {name.name!r} is running; start it with: stockade up --name {name.name}")
    path = name.kubeconfig_of(user, certificate=certificate)
    click.echo(path.read_text() if raw else str(path), nl=not raw)
