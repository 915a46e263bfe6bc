"""``stockade explain``: why, step by step, DNS first, and what the application would print."""

from __future__ import annotations

import sys

import click

from stockade.cli.question import Asked, answer, arguments, echo_json, echo_lines
from stockade.report.answer_text import answer_data, explain_lines


@click.command(
    "explain",
    epilog="Examples:  stockade explain pod/test http://web:80/\n\n"
    "           stockade explain deploy/shop svc/db:5432 -n prod\n\n"
    "           stockade explain pod/test www.example.com:443 -f manifests/ -o json",
)
@arguments
def command(asked: Asked) -> None:
    """Why is a connection FROM a pod, workload, node or address TO a pod, workload, Service, address or URL allowed or denied?

    Walks the whole way: name lookup, Service, each backend, both directions. Pods of one workload, and ports of one range,
    that fare differently are explained one after the other. Exit status: 0 allowed, 1 denied, 2 error.
    """
    found = answer(asked)
    if asked.output == "json":
        echo_json(answer_data(found))
    else:
        echo_lines(explain_lines(found))
    sys.exit(0 if found.allowed else 1)
