"""``stockade check``: is this connection allowed? The exit status says it."""

from __future__ import annotations

import sys

import click

from stockade.analysis.ports import all_ports
from stockade.analysis.target import TargetError
from stockade.cli.failure import Failure
from stockade.cli.question import Asked, answer, arguments, echo_json, echo_lines
from stockade.policy.evaluate import UnknownPodError
from stockade.report.answer_text import answer_data, port_data, port_lines, verdict_lines
from stockade.report.terminal import visible


@click.command(
    "check",
    epilog="Examples:  stockade check pod/test svc/web:80\n\n"
    "           stockade check pod/test http://web:80/ -f manifests/\n\n"
    "           stockade check deploy/shop deploy/db --port 5432 -n prod\n\n"
    "           stockade check 203.0.113.7 pod/web:8000-8100\n\n"
    "           stockade check pod/test pod/web --all-ports",
)
@arguments
@click.option("--all-ports", "every", is_flag=True, help="Print which ports of TO are allowed.")
def command(asked: Asked, *, every: bool) -> None:
    """Is a connection FROM a pod, workload, node or address TO a pod, workload, Service, address or URL allowed?

    References are kubectl's: pod/NAME, deploy/NAME (rs, sts, ds, job, cronjob, rc), svc/NAME, node/NAME, each as
    NS:KIND/NAME, too. Exit status: 0 allowed (from every pod, by every backend, on
    every port of a range), 1 denied, if only in part, 2 error or undecided. With --all-ports: 0 when some port is allowed, else 1.
    """
    if every:
        _every_port(asked)
    found = answer(asked)
    if asked.output == "json":
        echo_json(answer_data(found))
    else:
        echo_lines(verdict_lines(found))
        for warning in dict.fromkeys(text for case in found.cases for text in case.path.warnings):
            click.echo(f"warning: {visible(warning)}", err=True)
    sys.exit(0 if found.allowed else 2 if found.undecided else 1)


def _every_port(asked: Asked) -> None:
    try:
        maps = all_ports(asked.state, asked.question)
    except (TargetError, UnknownPodError) as error:
        raise Failure(str(error)) from error
    if asked.output == "json":
        echo_json(port_data(maps))
    else:
        echo_lines(port_lines(maps))
    sys.exit(0 if any(each.any_allowed for each in maps) else 1)
