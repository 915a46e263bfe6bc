"""Chains in which packets end: count, log, then drop or reject. Called by ``chains`` and ``frame``.

Every profile and direction has its own, whose log prefix names both: a default deny has no guilty policy, but it has the policies
that isolate, and those are the profile's. A pod that reaches itself, through a Service, is in nobody's way (rule 35); that is
looked up here, where it costs those packets only that would be denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.dataplane.ir import (
    PROTOCOLS,
    Chain,
    Drop,
    Field,
    Goto,
    IsProtocol,
    Log,
    Member,
    Reject,
    RejectCode,
    Role,
    Rule,
)
from stockade.dataplane.names import FENCE, log_prefix
from stockade.dataplane.settings import Options

FENCE_COUNTER = "d_fence"
_BOTH_ENDS = {4: (Field.SADDR4, Field.DADDR4), 6: (Field.SADDR6, Field.DADDR6)}


def deny_chain(
    way: str, profile: str, families: Iterable[int], options: Options, *, counter: str = ""
) -> Chain:
    """``way`` is e, re, i or ri; without ``counter`` nothing is counted."""
    hairpin = [
        Rule((Member(fields, f"self{family}"),), Goto("pass"), note="a pod that reaches itself")
        for family, fields in _BOTH_ENDS.items()
        if family in families
    ]
    log = Rule((), _log(log_prefix(way, profile), options), counter=counter)
    return Chain(deny_name(way, profile), (*hairpin, log, *_refusals(options)), Role.DENY)


def deny_name(way: str, profile: str) -> str:
    return f"deny_{way}_{profile}"


def fence_chain(options: Options) -> Chain:
    """Always silent: whoever has no address of its own yet is told nothing."""
    log = Rule((), _log(log_prefix(FENCE), options), counter=FENCE_COUNTER if options.counters else "")
    return Chain(FENCE, (log, Rule((), Drop())), Role.DENY, note="no programmed pod has this address")


def _log(prefix: str, options: Options) -> Log:
    return Log(prefix, options.log_group, options.log_rate, options.log_burst, options.log_snaplen)


def _refusals(options: Options) -> Iterator[Rule]:
    if options.deny == "drop":
        yield Rule((), Drop())
        return
    yield Rule((IsProtocol(PROTOCOLS["TCP"]),), Reject(RejectCode.TCP_RESET), note="connection refused")
    yield Rule((), Reject(RejectCode.ADMIN_PROHIBITED), note="resolvers give up at once")
