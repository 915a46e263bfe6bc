"""Peers, ports and the rules they come from, in words: what stands behind the # of rendered rules. Called by ``chains`` and ``fold``."""

from __future__ import annotations

from collections.abc import Iterable

from stockade.policy.compiled import BlockPeer, NamedPort, PortRange, RuleRef, SelectorPeer

NAMED_SOURCES = 6  # so many are told by name


def peer_text(peer: SelectorPeer | BlockPeer | None) -> str:
    return "any peer" if peer is None else peer.text


def port_text(port: PortRange | NamedPort | None) -> str:
    if port is None:
        return "every port and protocol"
    if isinstance(port, NamedPort):
        return f"port {port.name}/{port.protocol}"
    if port.lo <= 0 and port.hi >= 65535:
        return f"every {port.protocol} port"
    numbers = str(port.lo) if port.lo == port.hi else f"{port.lo}-{port.hi}"
    return f"port {numbers}/{port.protocol}"


def sources_text(refs: Iterable[RuleRef]) -> str:
    """``shop/a egress[0]``; of a rule that stands for several ``shop/a egress[0,3], shop/b egress[2] and 10 more policies``."""
    numbers: dict[str, list[int]] = {}
    for ref in sorted(set(refs)):
        numbers.setdefault(f"{ref.policy} {ref.direction.lower()}", []).append(ref.index)
    found = [f"{policy}[{','.join(map(str, own))}]" for policy, own in numbers.items()]
    more = len(found) - NAMED_SOURCES
    return ", ".join(found[:NAMED_SOURCES]) + (f" and {more} more policies" if more > 0 else "")
