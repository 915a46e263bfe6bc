"""``stockade drops``: which packets were denied, and by which policies. Reads the Events that the agents write.

Exit status: 0, also when nothing was denied; 2 when the cluster cannot be read or for wrong use. docs/drops.md describes the output.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING

import click

from stockade.cli.failure import Failure
from stockade.report.terminal import visible

if TYPE_CHECKING:
    from stockade.agent.drop_events import DropRow
    from stockade.kube.config import Access

HEADER = ("LAST SEEN", "COUNT", "POD", "DIRECTION", "PEER", "PORT", "ISOLATED BY")
WIDE = ("FIRST SEEN", "NEAREST RULE")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SinceType(click.ParamType[object]):
    """``90s``, ``1h30m``, ``2d``, or a time such as 2026-01-31T12:00:00Z."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        text = str(value)
        parts = re.findall(r"(\d{1,9})([smhd])", text)
        try:
            if parts and "".join(number + unit for number, unit in parts) == text:
                seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
                return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
            moment = dt.datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither an age such as 90s, 10m or 1h30m nor a time", param, ctx)
        return moment if moment.tzinfo else moment.astimezone()


@click.command()
@click.option("-n", "--namespace", help="Default: the context's namespace.")
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("--pod", default="", help="Only this pod.")
@click.option(
    "--since", type=SinceType(), help="Only what was seen in this time: 90s, 10m, 1h30m, or a time."
)
@click.option("-w", "--watch", is_flag=True, help="Go on printing as packets are denied.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json"]),
    default="text",
    show_default=True,
    help="wide: also the rule that came nearest; json: a list, with --watch one object a line.",
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Default: KUBECONFIG or ~/.kube/config.")
@click.option("--context", help="Context of the kubeconfig.")
def command(
    *,
    namespace: str | None,
    all_namespaces: bool,
    pod: str,
    since: dt.datetime | None,
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
        printer = Printer(output, namespace=where, pod=pod, since=since)
        asyncio.run(_watch(access, printer) if watch else _once(access, printer))
    except (ConfigError, KubeError) as error:
        raise Failure(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(0) from None


async def _once(access: Access, printer: Printer) -> None:
    from stockade.agent.drop_events import list_complaints, list_rows  # noqa: PLC0415
    from stockade.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient(access) as client:
        rows = await list_rows(client, printer.namespace, printer.pod)
        complaints = await list_complaints(client, dt.datetime.now(dt.UTC))
    printer.print_all(rows)
    for text in complaints:
        _aside(text)


async def _watch(access: Access, printer: Printer) -> None:
    from stockade.agent.drop_events import follow_rows, list_complaints  # noqa: PLC0415
    from stockade.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient(access) as client:
        for text in await list_complaints(client, dt.datetime.now(dt.UTC)):
            _aside(text)
        await follow_rows(client, printer.namespace, printer.print_one, _aside, printer.pod)


def _aside(text: str) -> None:
    click.echo(visible(text), err=True)


class Printer:
    """Rows as a table whose columns grow, or as JSON. ``namespace`` empty: all of them."""

    def __init__(
        self, output: str, *, namespace: str = "", pod: str = "", since: dt.datetime | None = None
    ) -> None:
        self.namespace, self.pod = namespace, pod
        self._output = output
        self._since = since
        self._widths: list[int] = []

    def print_all(self, rows: list[DropRow]) -> None:
        chosen = [row for row in rows if self._wanted(row)]
        if self._output == "json":
            import msgspec  # noqa: PLC0415

            click.echo(msgspec.json.format(msgspec.json.encode(chosen)).decode())
        elif chosen:
            self._lines([self._header, *(self._cells(row) for row in chosen)])
        if not chosen:
            _aside(self._nothing())

    def print_one(self, row: DropRow) -> None:
        if not self._wanted(row):
            return
        if self._output == "json":
            import msgspec  # noqa: PLC0415

            click.echo(msgspec.json.encode(row).decode())
            return
        self._lines([self._cells(row)] if self._widths else [self._header, self._cells(row)])

    def _nothing(self) -> str:
        """And what that may mean."""
        whose = f" of pod {self.pod}" if self.pod else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        when = f" since {self._since:%Y-%m-%dT%H:%M:%SZ}" if self._since else ""
        hint = "; -A looks in every namespace" if self.namespace else ""
        return f"No denied packets seen{whose}{where}{when} (a cluster keeps Events for about an hour{hint})."

    def _wanted(self, row: DropRow) -> bool:
        if self.pod and row.pod != self.pod:
            return False
        return self._since is None or (last := _moment(row.last)) is None or last >= self._since

    @property
    def _header(self) -> tuple[str, ...]:
        return (*HEADER, *WIDE) if self._output == "wide" else HEADER

    def _cells(self, row: DropRow) -> tuple[str, ...]:
        cells = (
            _age(row.last),
            str(row.count),
            row.pod if self.namespace else f"{row.namespace}/{row.pod}",
            row.direction,
            f"{row.peers} more addresses" if row.peers > 1 else row.peer,
            _port(row),
            ", ".join(name.removeprefix(f"{row.namespace}/") for name in row.policies) or "(fence)",
        )
        return (*cells, _age(row.first), row.nearest or "-") if self._output == "wide" else cells

    def _lines(self, raw: list[tuple[str, ...]]) -> None:
        """Whoever may write Events chooses what stands in them: nothing of it may act on the terminal."""
        rows = [tuple(visible(cell) for cell in row) for row in raw]
        columns = zip(*rows, strict=True)
        wanted = [max(map(len, column)) for column in columns]
        self._widths = [max(pair) for pair in zip(wanted, self._widths or wanted, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, self._widths, strict=True))
            click.echo("   ".join(cells).rstrip())


def _port(row: DropRow) -> str:
    if row.ports > 1:
        return f"{row.ports} more/{row.protocol}"
    return f"{row.port}/{row.protocol}" if row.port else row.protocol


def _moment(stamp: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _age(stamp: str) -> str:
    """As kubectl writes ages: 5s, 3m, 2h, 1d."""
    moment = _moment(stamp)
    if moment is None:
        return "<unknown>"
    seconds = int((dt.datetime.now(dt.UTC) - moment).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
