"""Options that change the rules, whoever writes them: ``stockade agent`` and ``stockade render``.

In: the command line. Out: RuleChoices, made into the data plane's Options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import msgspec

if TYPE_CHECKING:
    from stockade.dataplane.settings import Options

_F = TypeVar("_F", bound=Callable[..., Any])


class MarkMaskType(click.ParamType[object]):
    """``0xff000000`` or a decimal number: contiguous bits."""

    name = "mask"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        from stockade.dataplane.settings import Options  # noqa: PLC0415 - commands load what they use

        try:
            number = value if isinstance(value, int) else int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is not a mark mask such as 0xffff0000", param, ctx)
        try:
            return Options(mark_mask=number).mark_mask
        except ValueError as error:
            self.fail(str(error), param, ctx)


class InterfaceType(click.ParamType[object]):
    """``eth1``, or ``veth*`` for every name that begins so."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        from stockade.dataplane.settings import Options  # noqa: PLC0415

        try:
            return Options(pod_interfaces=(str(value),)).pod_interfaces[0]
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RuleChoices(msgspec.Struct, frozen=True, kw_only=True):
    """One field for each option below, by its parameter's name."""

    denied: Literal["drop", "reject"]
    mark_mask: int
    log_rate: int
    log_group: int
    hook_priority: int
    pod_interfaces: tuple[str, ...]
    counters: bool

    @property
    def options(self) -> Options:
        from stockade.dataplane.settings import Options  # noqa: PLC0415

        return Options(
            mark_mask=self.mark_mask,
            log_group=self.log_group,
            log_rate=self.log_rate,
            log_burst=2 * self.log_rate,
            priority=self.hook_priority,
            pod_interfaces=self.pod_interfaces,
            deny=self.denied,
            counters=self.counters,
        )


_OPTIONS = (
    click.option(
        "--denied",
        type=click.Choice(["drop", "reject"]),
        default="drop",
        show_default=True,
        help="What becomes of a denied packet: it disappears and clients time out, or its sender is told at once (TCP: connection "
        "refused; else: administratively prohibited). Unprogrammed pods are always dropped.",
    ),
    click.option(
        "--mark-mask",
        type=MarkMaskType(),
        default=0xFFFF0000,
        help="Bits of the connection mark that nobody else on this node uses, in one piece. Example: --mark-mask 0xff000000 "
        "Default: 0xffff0000",
    ),
    click.option(
        "--log-rate",
        type=click.IntRange(1, 100_000),
        default=200,
        show_default=True,
        help="Denied packets a second to be reported at most, for each set of policies and direction.",
    ),
    click.option(
        "--log-group",
        type=click.IntRange(0, 65535),
        default=5,
        show_default=True,
        help="NFLOG group for denied packets; another than any other program's on this node.",
    ),
    click.option(
        "--hook-priority",
        type=click.IntRange(-300, 99),
        default=-10,
        show_default=True,
        help="Where the rules stand in the forward and input hooks, relative to filter (0); smaller is earlier. Below 100, where "
        "source addresses are translated.",
    ),
    click.option(
        "--pod-interface",
        "pod_interfaces",
        type=InterfaceType(),
        multiple=True,
        help="Interfaces behind which there are only pods (repeatable): what comes in there must have the address of a programmed "
        "pod behind the same interface. Example: --pod-interface 'veth*' --pod-interface eth1",
    ),
    click.option(
        "--counters/--no-counters",
        default=True,
        show_default=True,
        help="Count what each policy rule lets begin and what each set of policies denies.",
    ),
)


def with_options(command: _F, options: tuple[Callable[[_F], _F], ...]) -> _F:
    """``command`` with ``options`` in the order in which its help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def rule_options(command: _F) -> _F:
    return with_options(command, _OPTIONS)
