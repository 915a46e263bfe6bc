"""``stockade explain``: why, step by step, and what the application would print; and the smallest change that would allow it."""

from __future__ import annotations

import sys

import click

from stockade.analysis.ask import Answer
from stockade.cli.failure import Failure
from stockade.cli.question import Asked, answer, arguments_with, echo_json, echo_lines
from stockade.report.answer_text import answer_data, answer_patch, explain_lines
from stockade.report.terminal import visible


@click.command(
    "explain",
    epilog="Examples:  stockade explain pod/test http://web:80/\n\n"
    "           stockade explain deploy/shop svc/db:5432 -n prod\n\n"
    "           stockade explain pod/test www.example.com:443 -f manifests/ -o json\n\n"
    "           stockade explain pod/test http://web:80/ -o patch | kubectl apply -f -",
)
@arguments_with("patch")
def command(asked: Asked) -> None:
    """Why is a connection FROM a pod, workload, node or address TO a pod, workload, Service, address or URL allowed or denied?

    Walks the whole way: name lookup, Service, each backend, both directions. Pods of one workload, and ports of one range,
    that fare differently are explained one after the other. Ends with the smallest policy change that would allow it; -o
    patch prints only that. Exit status: 0 allowed, 1 denied, 2 error; with -o patch 0 when what is printed is all it takes.
    """
    found = answer(asked, with_remedy=True)
    if asked.output == "patch":
        _patch(found)
    elif asked.output == "json":
        echo_json(answer_data(found))
    else:
        echo_lines(explain_lines(found))
    sys.exit(0 if found.allowed else 2 if found.undecided else 1)


def _patch(found: Answer) -> None:
    """stdout is for kubectl; what a person should know stands there as comments, and on stderr when it stops the change."""
    if found.undecided:
        raise Failure(f"undecided: {found.deciding.path.cause}")
    click.echo(answer_patch(found), nl=False)
    if found.remedy is None:
        click.echo("stockade: nothing to change, it is allowed already", err=True)
    elif not found.remedy.complete:
        for note in found.remedy.notes:
            click.echo(f"stockade: {visible(note)}", err=True)
    sys.exit(0 if found.remedy is None or found.remedy.complete else 1)
