"""``stockade drops``: which packets were denied, and by which policies. Reads the Events that the agents write.

Exit status: 0, 2 when the cluster cannot be read or for wrong use.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import click

from stockade.cli.failure import Failure
from stockade.report.terminal import visible

if TYPE_CHECKING:
    from stockade.agent.drop_events import DropRow
    from stockade.kube.config import Access

HEADER = ("LAST SEEN", "COUNT", "POD", "DIRECTION", "PEER", "PORT", "ISOLATED BY")


@click.command()
@click.option("-n", "--namespace", help="Default: the context's namespace.")
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("--pod", help="Only this pod.")
@click.option("-w", "--watch", is_flag=True, help="Go on printing as packets are denied.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Default: KUBECONFIG or ~/.kube/config.")
@click.option("--context", help="Context of the kubeconfig.")
def command(
    *,
    namespace: str | None,
    all_namespaces: bool,
    pod: str | None,
    watch: bool,
    output: str,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Show denied packets with the policies that isolate the pod.

    \b
    Example: stockade drops -w --pod web
    """
    from stockade.kube.config import load  # noqa: PLC0415 - --help must not load all this
    from stockade.kube.errors import ConfigError, KubeError  # noqa: PLC0415

    try:
        access = load(kubeconfig, context)
        where = "" if all_namespaces else namespace or access.namespace
        printer = _Printer(output, with_namespace=all_namespaces, pod=pod or "")
        work = _watch(access, where, printer) if watch else _once(access, where, printer)
        asyncio.run(work)
    except (ConfigError, KubeError) as error:
        raise Failure(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(0) from None


async def _once(access: Access, namespace: str, printer: _Printer) -> None:
    from stockade.agent.drop_events import list_rows  # noqa: PLC0415
    from stockade.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient(access) as client:
        printer.print_all(await list_rows(client, namespace), namespace)


async def _watch(access: Access, namespace: str, printer: _Printer) -> None:
    from stockade.agent.drop_events import follow_rows  # noqa: PLC0415
    from stockade.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient(access) as client:
        await follow_rows(
            client, namespace, printer.print_one, lambda text: click.echo(visible(text), err=True)
        )


class _Printer:
    """Rows as a table whose columns grow, or as JSON (a list; with --watch one object a line)."""

    def __init__(self, output: str, *, with_namespace: bool, pod: str) -> None:
        self._json = output == "json"
        self._with_namespace = with_namespace
        self._pod = pod
        self._widths: list[int] = []

    def print_all(self, rows: list[DropRow], namespace: str) -> None:
        chosen = [row for row in rows if self._wanted(row)]
        if self._json:
            import msgspec  # noqa: PLC0415

            click.echo(msgspec.json.format(msgspec.json.encode(chosen)).decode())
            return
        if not chosen:
            click.echo(
                f"No denied packets seen{f' of pod {self._pod}' if self._pod else ''}"
                f"{f' in namespace {namespace}' if namespace else ''}.",
                err=True,
            )
            return
        self._lines([HEADER, *(self._cells(row) for row in chosen)])

    def print_one(self, row: DropRow) -> None:
        if not self._wanted(row):
            return
        if self._json:
            import msgspec  # noqa: PLC0415

            click.echo(msgspec.json.encode(row).decode())
            return
        self._lines([self._cells(row)] if self._widths else [HEADER, self._cells(row)])

    def _wanted(self, row: DropRow) -> bool:
        return not self._pod or row.pod == self._pod

    def _cells(self, row: DropRow) -> tuple[str, ...]:
        return (
            _age(row.last),
            str(row.count),
            f"{row.namespace}/{row.pod}" if self._with_namespace else row.pod,
            row.direction,
            row.peer,
            f"{row.port}/{row.protocol}" if row.port else row.protocol,
            ", ".join(name.removeprefix(f"{row.namespace}/") for name in row.policies) or "(fence)",
        )

    def _lines(self, raw: list[tuple[str, ...]]) -> None:
        """Whoever may write Events chooses what stands in them: nothing of it may act on the terminal."""
        rows = [tuple(visible(cell) for cell in row) for row in raw]
        columns = zip(*rows, strict=True)
        wanted = [max(map(len, column)) for column in columns]
        self._widths = [max(pair) for pair in zip(wanted, self._widths or wanted, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, self._widths, strict=True))
            click.echo("   ".join(cells).rstrip())


def _age(stamp: str) -> str:
    """As kubectl writes ages: 5s, 3m, 2h, 1d."""
    try:
        seconds = int((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(stamp)).total_seconds())
    except (ValueError, TypeError):
        return "<unknown>"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
