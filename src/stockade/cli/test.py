"""``stockade test``: a file of assertions about who reaches whom, judged on manifests or on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from stockade.analysis.assertion_file import ReadFile, Wrong, read
from stockade.analysis.assertions import AssertionFile, BadAssertion, judge, schema
from stockade.analysis.path import World, prepare
from stockade.analysis.workloads import names_workload
from stockade.cli.failure import Failure
from stockade.cli.question import MATCH, READING, echo_json, echo_lines, hosts_of, with_options
from stockade.cli.world import read_state
from stockade.manifests import sources
from stockade.model.diagnostic import Diagnostic
from stockade.report.outcomes import Row, data, tap, text_lines
from stockade.report.terminal import visible


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The options that say what is judged."""

    files: tuple[str, ...]
    namespace: str | None
    context: str | None
    kubeconfig: str | None
    hosts: dict[str, str]
    blocks_match_pods: bool
    validation: str


def _schema(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        echo_json(schema())
        ctx.exit(0)


def _options(function: Any) -> Any:
    return with_options(function, READING)


@click.command(
    "test",
    epilog="Examples:  stockade test assertions.yaml -f manifests/\n\n"
    "           stockade test assertions.yaml -o junit > report.xml\n\n"
    "           stockade test assertions.yaml --live\n\n"
    "           stockade test --schema > stockade-test.schema.json",
)
@click.argument("assertions", nargs=-1, required=True, metavar="FILE...")
@_options
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "junit", "tap"]), default="text", show_default=True
)
@click.option("--live", is_flag=True, help="Try each connection from inside its pod, too, and compare.")
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_schema,
    help="Print the JSON schema.",
)
def command(  # noqa: PLR0917 - click passes them by name
    assertions: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    resolve: tuple[str, ...],
    ipblock_pods: str,
    validation: str,
    output: str,
    *,
    live: bool,
) -> None:
    """Judge the assertions in FILE: from, to, ports, expect: allowed or denied.

    Judged are the manifests given with -f, else those that FILE lists, else the current cluster. "Denied" means by a policy:
    a connection that fails for another reason passes no assertion. With --live each TCP connection is really opened from
    inside its pod (which needs a shell and nc, python3 or bash, and the right to exec): a network that does not do what was
    decided fails. Exit status: 0 all hold, 1 one fails, 2 error.
    """
    if "-" in assertions and "-" in files:
        raise Failure("standard input can be read once: give - either as FILE or with -f")
    given = [_read(name) for name in assertions]
    _stop_at([diagnostic for each in given for diagnostic in each.diagnostics])
    reading = Reading(
        files=files,
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        hosts=hosts_of(resolve),
        blocks_match_pods=ipblock_pods == MATCH,
        validation=validation,
    )
    rows = _judge_all(given, reading, live=live)
    _print(rows, output, live=live)
    sys.exit(0 if all(row.ok for row in rows) else 1)


def _read(name: str) -> ReadFile:
    if name != "-" and Path(name).is_dir():
        raise Failure(f"{name} is a directory; give the files with assertions")
    (source,) = sources.read([name], sys.stdin)
    if isinstance(source, Diagnostic):
        return ReadFile(name, None, (source,), None)
    return read(source.text, source.name)


def _judge_all(given: Sequence[ReadFile], reading: Reading, *, live: bool) -> list[Row]:
    worlds: dict[tuple[tuple[str, ...], str | None], tuple[World, str]] = {}
    rows: list[Row] = []
    problems: list[Diagnostic] = []
    for each in given:
        assert each.file is not None
        found: list[Row] = []
        chosen, space = reading.files or _beside(each), reading.namespace or each.file.namespace or None
        if (chosen, space) not in worlds:
            worlds[chosen, space] = _world(chosen, space, reading, given)
        world, namespace = worlds[chosen, space]
        file = msgspec.structs.replace(each.file, hosts={**reading.hosts, **each.file.hosts})
        mistakes: list[Wrong] = []
        positions = each.test_positions()
        for outcome in judge(world, file, namespace, given=space or ""):
            if isinstance(outcome, BadAssertion):
                mistakes.append(Wrong(outcome.message, outcome.path))
            else:
                found.append(Row(outcome=outcome, position=positions[outcome.test]))
        problems += each.placed(mistakes)
        if live and chosen:
            raise Failure(
                "--live tries connections in a running cluster; leave out -f, and manifests in FILE"
            )
        rows += _tried(found, world, reading) if live and not problems else found
    _stop_at(problems)
    return rows


def _tried(rows: list[Row], world: World, reading: Reading) -> list[Row]:
    from stockade.cli.live import observe  # noqa: PLC0415 - imports the HTTP client
    from stockade.kube.config import load as load_access  # noqa: PLC0415
    from stockade.kube.errors import ConfigError, KubeError  # noqa: PLC0415

    try:
        return observe(rows, world, load_access(reading.kubeconfig, reading.context))
    except (ConfigError, KubeError) as error:
        raise Failure(str(error)) from error


def _beside(source: ReadFile) -> tuple[str, ...]:
    """The manifests that a file of assertions lists, seen from where it is."""
    assert source.file is not None
    folder = Path() if source.name == sources.STDIN else Path(source.name).parent
    return tuple(str(folder / name) for name in source.file.manifests)


def _world(
    chosen: tuple[str, ...], namespace: str | None, reading: Reading, given: Iterable[ReadFile]
) -> tuple[World, str]:
    state, current = read_state(
        chosen,
        context=reading.context,
        kubeconfig=reading.kubeconfig,
        namespace=namespace,
        workloads=any(_names_workload(each.file) for each in given if each.file),
        validation=reading.validation,
    )
    return prepare(state, blocks_match_pods=reading.blocks_match_pods), current


def _names_workload(file: AssertionFile) -> bool:
    return any(names_workload(text) for test in file.tests for text in (*test.sources, *test.targets))


def _stop_at(problems: Sequence[Diagnostic]) -> None:
    for text in dict.fromkeys(map(str, problems)):  # one FROM with several TO is wrong once
        click.echo(visible(text), err=True)
    if problems:
        raise Failure("nothing was judged: the assertions have errors")


def _print(rows: Sequence[Row], output: str, *, live: bool) -> None:
    if output == "json":
        echo_json(data(rows))
    elif output == "junit":
        from stockade.report.junit import junit  # noqa: PLC0415 - XML only when asked for

        click.echo(junit(rows))
    elif output == "tap":
        for line in tap(rows):
            click.echo(visible(line))
    else:
        echo_lines(text_lines(rows, live=live))
