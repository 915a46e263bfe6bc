"""Rules of the table in, their expressions as bytes out. Called by ``operations`` and ``reading``; pure.

What a header field needs to be there (``meta nfproto ipv4`` before ``ip saddr``, the protocol before its ports) is tested in
front of it once in a rule, as the nft program does, so that both write the same rule and nft lists either in the same words.
"""

from __future__ import annotations

from functools import lru_cache

from stockade.dataplane.ir import (
    PROTOCOLS,
    Accept,
    AcceptKnown,
    Action,
    CtReply,
    CtState,
    Dispatch,
    Drop,
    Field,
    FromInterface,
    Goto,
    HopLimit,
    Identify,
    IsFamily,
    IsProtocol,
    Log,
    Match,
    Member,
    NoReturnPath,
    NotNodeAddress,
    PortWithin,
    Reject,
    RejectCode,
    Remember,
    Rule,
    Within,
    mark_value,
)
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.nfnetlink import expressions as e
from stockade.dataplane.nfnetlink.wire import VERDICT_ACCEPT, VERDICT_DROP

_NFPROTO = {4: 2, 6: 10}
_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_LOCAL = 2  # RTN_LOCAL
_INTERFACE_BYTES = 16
_ALL_BITS = 0xFFFFFFFF

# header, offset, length in bytes
_PLACES = {
    Field.SADDR4: (e.NETWORK_HEADER, 12, 4),
    Field.DADDR4: (e.NETWORK_HEADER, 16, 4),
    Field.SADDR6: (e.NETWORK_HEADER, 8, 16),
    Field.DADDR6: (e.NETWORK_HEADER, 24, 16),
    Field.SPORT: (e.TRANSPORT_HEADER, 0, 2),
    Field.DPORT: (e.TRANSPORT_HEADER, 2, 2),
    Field.ICMPV6_TYPE: (e.TRANSPORT_HEADER, 0, 1),
}
# (family, protocol) that must be known, then the expressions
_Part = tuple[int | None, int | None, bytes]
_Unmarking = Accept | Drop | Reject | Goto | Identify | Dispatch | Log


class Mark:
    """How the generation is read from and written to the connection's mark."""

    def __init__(self, mask: int, generation: int) -> None:
        self.mask = mask
        load, word = e.ct(e.CT_MARK), e.HOST_WORD.pack
        test = load + e.bitwise(word(mask), word(0)) + e.lookup_verdict(GENERATIONS)
        self.test: _Part = (None, None, test)
        kept = e.bitwise(word(_ALL_BITS ^ mask), word(mark_value(mask, generation)))
        self.write: _Part = (None, None, load + kept + e.set_ct(e.CT_MARK))


def encode_rule(rule: Rule, mark: Mark) -> bytes:
    """The list of expressions, without the attribute around it."""
    known_family: int | None = None
    known_protocol: int | None = None
    found: list[bytes] = []
    for match in rule.matches:
        family, protocol, body = _match(match)
        if family is not None and family != known_family:
            found.append(_FAMILY_TESTS[family])
            known_family = family
        if protocol is not None and protocol != known_protocol:
            found.append(_protocol_test(protocol))
            known_protocol = protocol
        found.append(body)
    if rule.counter:
        found.append(_count(rule.counter))
    action = rule.action
    family, protocol, body = _marked(action, mark)
    if family is not None and family != known_family:
        found.append(_FAMILY_TESTS[family])
    if protocol is not None and known_protocol is None:
        # tested before all else, so that nothing is counted that the action does not meet
        found.insert(0, _protocol_test(protocol))
    found.append(body)
    return b"".join(found)


def _marked(action: Action, mark: Mark) -> _Part:
    if isinstance(action, AcceptKnown):
        return mark.test
    return mark.write if isinstance(action, Remember) else _action(action)


@lru_cache(maxsize=1 << 15)
def _match(match: Match) -> _Part:  # noqa: PLR0911 - one line per kind
    match match:
        case Member(fields, name, negated):
            return _member(fields, name, negated=negated)
        case Within(field, low, high):
            return field.family, None, _within(field, low, high)
        case PortWithin(protocol, field, low, high):
            return None, protocol, e.payload(*_PLACES[field]) + _between(low, high, 2)
        case IsFamily(family):
            return family, None, b""
        case IsProtocol(protocol):
            return None, protocol, b""
        case HopLimit(value):
            return 6, None, e.payload(e.NETWORK_HEADER, 7, 1) + e.compare(e.EQUAL, bytes([value]))
        case CtState(state):
            word = e.HOST_WORD.pack
            test = e.bitwise(word(_STATES[state]), word(0)) + e.compare(e.DIFFERENT, word(0))
            return None, None, e.ct(e.CT_STATE) + test
        case CtReply():
            return None, None, e.ct(e.CT_DIRECTION) + e.compare(e.EQUAL, b"\1")
        case arrival:
            return None, None, _arrival(arrival)


def _member(fields: tuple[Field, ...], name: str, *, negated: bool) -> _Part:
    families = {field.family for field in fields} - {None}
    if len(families) > 1:
        raise ValueError(f"a packet has addresses of one family: {' . '.join(fields)}")
    word, loads = 0, []
    for field in fields:
        into = e.register(word)
        if field is Field.PROTOCOL:
            loads.append(e.meta(e.META_L4PROTO, into))
            word += 1
        else:
            loads.append(e.payload(*_PLACES[field], into))
            word += -(-_PLACES[field][2] // 4)
    body = b"".join(loads) + e.lookup(name, negated=negated)
    if Field.ICMPV6_TYPE in fields:
        return 6, PROTOCOLS["ICMPv6"], body
    return next(iter(families), None), None, body


def _within(field: Field, low: int, high: int) -> bytes:
    """A prefix of whole bytes is compared as such, another one under a mask, a range by its ends: as nft does."""
    base, offset, length = _PLACES[field]
    bits, span = length * 8, high - low + 1
    is_prefix = span & (span - 1) == 0 and low % span == 0
    prefix = bits - span.bit_length() + 1
    whole = low.to_bytes(length, "big")
    if is_prefix and prefix % 8 == 0 and prefix:
        return e.payload(base, offset, prefix // 8) + e.compare(e.EQUAL, whole[: prefix // 8])
    load = e.payload(base, offset, length)
    if is_prefix:
        mask = ((1 << bits) - span).to_bytes(length, "big")
        return load + e.bitwise(mask, bytes(length)) + e.compare(e.EQUAL, whole)
    return load + _between(low, high, length)


def _between(low: int, high: int, length: int) -> bytes:
    first, last = low.to_bytes(length, "big"), high.to_bytes(length, "big")
    if low == high:
        return e.compare(e.EQUAL, first)
    return e.compare(e.AT_LEAST, first) + e.compare(e.AT_MOST, last)


def _arrival(match: FromInterface | NoReturnPath | NotNodeAddress) -> bytes:
    match match:
        case FromInterface(name):
            text = name.encode()
            value = text[:-1] if name.endswith("*") else text.ljust(_INTERFACE_BYTES, b"\0")
            return e.meta(e.META_IIFNAME) + e.compare(e.EQUAL, value)
        case NoReturnPath():
            flags = e.FIB_F_SADDR | e.FIB_F_IIF | e.FIB_F_PRESENT
            return e.fib(flags, e.FIB_OIF) + e.compare(e.EQUAL, e.HOST_WORD.pack(0))
        case NotNodeAddress(field):
            flags = e.FIB_F_SADDR if field in {Field.SADDR4, Field.SADDR6} else e.FIB_F_DADDR
            return e.fib(flags, e.FIB_TYPE) + e.compare(e.DIFFERENT, e.HOST_WORD.pack(_LOCAL))


@lru_cache(maxsize=1 << 15)
def _action(action: _Unmarking) -> _Part:  # noqa: PLR0911 - one line per kind
    match action:
        case Goto(chain, forget):
            return None, None, _FORGET + e.goto(chain) if forget else e.goto(chain)
        case Accept(forget):
            return None, None, _FORGET + _ACCEPT if forget else _ACCEPT
        case Drop():
            return None, None, _DROP
        case Reject(code):
            return _REJECTS[code]
        case Identify(field, name, chain):
            found = e.payload(*_PLACES[field]) + e.lookup_value(name)
            return field.family, None, found + e.set_meta(e.META_PRIORITY) + e.goto(chain)
        case Dispatch(name):
            return None, None, e.meta(e.META_PRIORITY) + e.lookup_verdict(name)
        case Log(prefix, group, rate, burst, snaplen):
            return None, None, e.limit(rate, burst) + e.log(prefix, group, snaplen)


@lru_cache(maxsize=1 << 15)
def _count(name: str) -> bytes:
    return e.count(name)


@lru_cache(maxsize=256)
def _protocol_test(protocol: int) -> bytes:
    return e.meta(e.META_L4PROTO) + e.compare(e.EQUAL, bytes([protocol]))


_ACCEPT, _DROP = e.verdict(VERDICT_ACCEPT), e.verdict(VERDICT_DROP)
_FORGET = e.immediate(e.HOST_WORD.pack(0)) + e.set_meta(e.META_PRIORITY)
_FAMILY_TESTS = {
    family: e.meta(e.META_NFPROTO) + e.compare(e.EQUAL, bytes([number]))
    for family, number in _NFPROTO.items()
}
_REJECTS: dict[RejectCode, _Part] = {
    RejectCode.TCP_RESET: (None, PROTOCOLS["TCP"], e.reject(e.REJECT_TCP_RESET)),
    RejectCode.ADMIN_PROHIBITED: (None, None, e.reject(e.REJECT_ICMPX, e.ICMPX_ADMIN_PROHIBITED)),
}
