"""``stockade outside``: what a client outside the cluster gets, from a lab's simulated Internet.

Exit status: 0 the other side answered, 1 it did not, 2 wrong use or no lab.
"""

from __future__ import annotations

import sys

import click

from stockade.cli.failure import Failure
from stockade.cli.options import lab_name
from stockade.lab.outside import NoAnswerError, OutsideError, fetch
from stockade.lab.paths import LabPaths
from stockade.report.terminal import visible


@click.command("outside", epilog="Example:  stockade outside http://203.0.113.1/")
@click.argument("url")
@lab_name
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True)
def command(url: str, name: LabPaths, seconds: float) -> None:
    """Fetch URL as a client outside the cluster does; print the page.

    The host is an IP address (of a LoadBalancer Service, of a node with a node port …) or a name of the simulated Internet.
    """
    try:
        answer = fetch(name, url, seconds)
    except NoAnswerError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except OutsideError as error:
        raise Failure(str(error)) from error
    if answer.status >= 400:
        click.echo(f"HTTP status {answer.status}", err=True)
    click.echo(visible(answer.page, keep="\n\t"), nl=False)
