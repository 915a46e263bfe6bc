"""What ``lower`` must know besides the compiled policies: which node this is, and the operator's choices."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from stockade.net.cidr import Address, Block

# What may stand in the rules: fewer characters than Linux allows, none that nft reads as its own.
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}|[A-Za-z0-9_.-]{1,14}\*")


class NodeView(msgspec.Struct, frozen=True):
    """``pod_cidrs`` are the blocks this node gives pod addresses from: they are fenced. ``addresses`` are the node's own."""

    name: str
    pod_cidrs: tuple[Block, ...] = ()
    addresses: tuple[Address, ...] = ()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``mark_mask``: contiguous bits of the connection mark that nobody else on this node uses. The more bits, the
    more seldom all connections are looked at, before a generation number comes round again. ``log_rate`` and ``log_burst`` hold for each profile and direction.

    ``pod_interfaces``: names (``veth*``, ``cali*``) of this node's interfaces behind which there are only pods. What comes in by
    them must have the address of a programmed pod that lives behind the same interface; otherwise an address in a packet is
    believed as the kernel believes it (rp_filter, IPv4 only).

    ``deny``: a denied packet disappears, or its sender is told (reference dataplane 6). The fence always drops. ``counters``: count what
    each policy rule let begin and what each profile denied, for about 0.1 us for each first packet.
    """

    mark_mask: int = 0xFFFF0000
    log_group: int = 5
    log_rate: int = 200
    log_burst: int = 400
    log_snaplen: int = 96
    priority: int = -10
    pod_interfaces: tuple[str, ...] = ()
    deny: Literal["drop", "reject"] = "drop"
    counters: bool = True

    def __post_init__(self) -> None:
        mask = self.mark_mask
        if not 0 < mask <= 0xFFFFFFFF or (mask + (mask & -mask)) & mask:
            raise ValueError(f"mark mask {mask:#010x}: want contiguous bits of 32, such as 0xff000000")
        if mask & (mask - 1) == 0:
            raise ValueError(f"mark mask {mask:#010x}: one bit cannot tell generations apart")
        if not 0 <= self.log_group <= 0xFFFF:
            raise ValueError(f"log group {self.log_group}: want 0..65535")
        if self.deny not in {"drop", "reject"}:
            raise ValueError(f"deny {self.deny!r}: want drop or reject")
        if self.log_rate < 1 or self.log_burst < 1:
            raise ValueError("log rate and burst must be at least 1")
        for name in self.pod_interfaces:
            if not _INTERFACE.fullmatch(name):
                raise ValueError(
                    f"interface {name!r}: want a name of up to 15 characters, such as eth1 or veth*"
                )
