"""Ports and address blocks of one rule, from the API's words to numbers; what is not valid becomes nothing.

In: items of a NetworkPolicy. Out: compiled items, or ``None`` for an item that the API would refuse: such an item
matches nothing and never widens access (rule 57). Called by ``compile``. Rules 19-21, 23-31; checks as in the API's
own validation.
"""

from __future__ import annotations

import re

from stockade.model.netpol import IPBlock, NetworkPolicyPort
from stockade.net.cidr import Block, parse_block
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import BlockPeer, NamedPort, PortRange

PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})
MAX_PORT = 65535

# IANA service name: at most 15 of a-z 0-9 and '-', at least one letter, no '-' at the ends or doubled.
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
# Only a prefix length may follow the slash: ipaddress would also read a netmask.
_CIDR = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}\Z")


def compile_port(item: NetworkPolicyPort) -> PortRange | NamedPort | None:
    protocol = "TCP" if item.protocol is None else item.protocol
    if protocol not in PROTOCOLS:
        return None
    if isinstance(item.port, str):
        named = item.end_port is None and _PORT_NAME.match(item.port)
        return NamedPort(protocol, item.port) if named else None
    if item.port is None:
        return PortRange(protocol, 0, MAX_PORT) if item.end_port is None else None
    last = item.port if item.end_port is None else item.end_port
    return PortRange(protocol, item.port, last) if 1 <= item.port <= last <= MAX_PORT else None


def port_text(port: PortRange | NamedPort) -> str:
    """For people and for content hashes: ``TCP 80``, ``UDP 8000-8100``, ``TCP http``, ``SCTP`` (every port)."""
    if isinstance(port, NamedPort):
        return f"{port.protocol} {port.name}"
    if (port.lo, port.hi) == (0, MAX_PORT):
        return port.protocol
    return f"{port.protocol} {port.lo}" + (f"-{port.hi}" if port.hi > port.lo else "")


def compile_block(item: IPBlock) -> BlockPeer | None:
    """An except that is not strictly inside the block spoils the whole item: what it meant to keep out is unknown."""
    block = _block(item.cidr)
    holes = [_block(text) for text in item.except_ or []]
    if block is None:
        return None
    valid = [hole for hole in holes if hole and block.contains(hole) and hole != block]
    if len(valid) < len(holes):
        return None
    whole = RangeSet.of((block.low, block.high))
    text = item.cidr + (" except " + ", ".join(item.except_) if item.except_ else "")
    ranges = whole - RangeSet((hole.low, hole.high) for hole in valid)
    return BlockPeer(family=block.family, ranges=ranges, text=text, whole=whole)


def without(block: BlockPeer, pods: RangeSet) -> BlockPeer:
    """``block`` as an enforcer reads it that knows pods by their labels only: none of their addresses is in it."""
    text = f"{block.text} outside the pods"
    return BlockPeer(family=block.family, ranges=block.ranges - pods, text=text, whole=block.whole - pods)


def _block(text: str) -> Block | None:
    try:
        return parse_block(text) if _CIDR.match(text) else None
    except ValueError:
        return None
