"""How rules are made and kept: the options of ``stockade agent`` that an operator may want to change, and what they become.

In: the command line. Out: Choices. Called by ``cli.agent``; ``cli.up`` checks with it what it passes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click
import msgspec

from stockade.cli.rule_options import RuleChoices, rule_options, with_options

_F = TypeVar("_F", bound=Callable[..., Any])


class Choices(RuleChoices, frozen=True, kw_only=True):
    """One field more for each option below."""

    live_flows: Literal["cut", "keep"]
    backend: Literal["netlink", "nft"]
    own_table: bool

    @property
    def keeps_flows(self) -> bool:
        return self.live_flows == "keep"


_OPTIONS = (
    click.option(
        "--live-flows",
        type=click.Choice(["cut", "keep"]),
        default="cut",
        show_default=True,
        help="Connections that a new policy denies: cut at once, or kept until they end by themselves. Kept or not, those of a pod "
        "that is gone are not inherited by the next pod with its address.",
    ),
    click.option(
        "--backend",
        type=click.Choice(["netlink", "nft"]),
        default="netlink",
        show_default=True,
        help="How the kernel is told: by netlink messages of our own, or by the nft program.",
    ),
    click.option(
        "--own-table/--no-own-table",
        default=False,
        show_default=True,
        help="Own the table, so that no other process can change it while the agent runs (netlink, kernel 6.9 or newer).",
    ),
)


def enforcement_options(command: _F) -> _F:
    return rule_options(with_options(command, _OPTIONS))


def choices(given: dict[str, object]) -> Choices:
    """From the parameters of ``enforcement_options``. Raises click.UsageError when they do not go together."""
    made = msgspec.convert(given, Choices)
    if made.own_table and made.backend != "netlink":
        raise click.UsageError("--own-table needs --backend netlink: the nft program is another process")
    return made
