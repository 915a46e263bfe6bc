"""``stockade validate``: are these manifests what a cluster would take? Nothing is decided, no cluster is asked."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from stockade.cli.failure import NO_OBJECTS, Failure
from stockade.cli.validation import validate_option
from stockade.manifests.load import load
from stockade.manifests.loaded import Loaded
from stockade.manifests.validation import FieldValidation
from stockade.model.diagnostic import Diagnostic, Severity
from stockade.report.terminal import visible

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@click.command(
    "validate",
    epilog="Examples:  stockade validate policy.yaml manifests/\n\n"
    "           helm template ./chart | stockade validate --strict -\n\n"
    "           kubectl get networkpolicy -A -o json | stockade validate -o json -",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-n", "--namespace", default="default", help="Namespace of objects without one.")
@validate_option
@click.option("--strict", is_flag=True, help="Warnings fail, too (see --validate for what is one).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(files: tuple[str, ...], namespace: str, validation: str, *, strict: bool, output: str) -> None:
    """Check manifests as the API server would: fields, types, values; every mistake with its place and a hint.

    FILE is a file, a directory (recursive) or - for stdin: YAML or JSON, several documents, Lists, dumps by kubectl get.
    Exit status: 0 when there are no errors (with --strict: no warnings either), 2 otherwise, also
    when there is no object at all.
    """
    loaded = load(files, sys.stdin, namespace=namespace, validation=FieldValidation(validation))
    errors, warnings = (
        sum(each.severity is severity for each in loaded.diagnostics)
        for severity in (Severity.ERROR, Severity.WARNING)
    )
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(_data(loaded, errors, warnings))).decode())
    else:
        for diagnostic in loaded.diagnostics:
            click.echo(_line(diagnostic))
        click.echo(
            f"{len(loaded.objects)} valid, {_counted(errors, 'error')}, {_counted(warnings, 'warning')}",
            err=True,
        )
    if loaded.is_empty:
        raise Failure(NO_OBJECTS)
    sys.exit(2 if errors or (strict and warnings) else 0)


def _line(diagnostic: Diagnostic) -> str:
    text, label = visible(str(diagnostic)), f"{diagnostic.severity.value}: "
    colour = _COLOURS.get(diagnostic.severity)
    before, found, after = text.partition(label)
    return f"{before}{click.style(found, fg=colour, bold=True)}{after}" if colour else text


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _data(loaded: Loaded, errors: int, warnings: int) -> dict[str, Any]:
    return {
        "valid": len(loaded.objects),
        "errors": errors,
        "warnings": warnings,
        "diagnostics": msgspec.to_builtins(loaded.diagnostics),
    }
