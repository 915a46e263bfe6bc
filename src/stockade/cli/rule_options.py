"""Options that change the rules, and are the same for whoever writes them: ``stockade render``, as the agent has them.

In: the command line. Out: ``dataplane.settings.Options``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stockade.cli.failure import Failure

if TYPE_CHECKING:
    from stockade.dataplane.settings import Options

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--denied",
        type=click.Choice(["drop", "reject"]),
        default="drop",
        show_default=True,
        help="What becomes of denied packets: they disappear, or their sender is told.",
    ),
    click.option(
        "--pod-interface",
        "pod_interfaces",
        multiple=True,
        metavar="NAME",
        help="Interfaces behind which there are only pods, such as veth* (repeatable).",
    ),
    click.option(
        "--mark-mask",
        default="0xffff0000",
        metavar="MASK",
        show_default=True,
        help="Bits of the connection mark that nobody else uses.",
    ),
    click.option(
        "--log-rate",
        default=200,
        type=click.IntRange(min=1),
        show_default=True,
        help="Denied packets a second that each profile and direction may log.",
    ),
    click.option("--counters/--no-counters", default=True, show_default=True, help="Count per policy rule."),
    click.option(
        "--hook-priority",
        default=-10,
        type=int,
        show_default=True,
        help="Of the hooks, seen from nft's filter priority.",
    ),
)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The decorated command gets ``denied``, ``pod_interfaces``, ``mark_mask``, ``log_rate``, ``counters`` and ``hook_priority``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_options(
    *,
    denied: str,
    pod_interfaces: tuple[str, ...],
    mark_mask: str,
    log_rate: int,
    counters: bool,
    hook_priority: int,
    log_group: int,
) -> Options:
    """Ends the command with one line that says what is wrong."""
    from stockade.dataplane.settings import Options  # noqa: PLC0415 - commands load what they use

    try:
        mask = int(mark_mask, 0)
    except ValueError:
        raise Failure(f"--mark-mask {mark_mask}: write a number such as 0xffff0000") from None
    try:
        return Options(
            deny="reject" if denied == "reject" else "drop",
            pod_interfaces=pod_interfaces,
            mark_mask=mask,
            log_rate=log_rate,
            log_burst=2 * log_rate,
            counters=counters,
            priority=hook_priority,
            log_group=log_group,
        )
    except ValueError as error:
        raise Failure(str(error)) from error
