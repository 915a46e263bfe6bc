"""DNS messages in, DNS messages out: a query's bytes to the response's bytes, by asking a Zone. No sockets.

Called by ``lab.dns.server`` for UDP and TCP. Rules: RFC 1035, 6891 (EDNS: only the size is honoured), RFC 7766 (a UDP answer
that does not fit is truncated and asked again over TCP). Answers are remembered by the query's bytes without its id, so a
repeated question costs a dictionary look-up.
"""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from stockade.lab.dns.records import Answer, Record, Zone

_UDP_SIZE = 512
_EDNS_SIZE = 1232  # fits every path (DNS flag day 2020)
_TCP_SIZE = 65535
_MAX_REMEMBERED = 4096


class Responder:
    """Answers from one Zone; a changed world is a new Responder."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._remembered: dict[tuple[bytes, bool], bytes] = {}

    def respond(self, query: bytes, *, stream: bool = False) -> bytes | None:
        """None when the bytes are no query (nothing is sent back: no loops between servers)."""
        key = (query[2:], stream)
        known = self._remembered.get(key)
        if known is None:
            known = self._build(query, stream=stream)
            if known is None:
                return None
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            if (
                len(query) <= _UDP_SIZE
            ):  # pods choose the queries: 64 kB of padding each would fill the daemon's memory
                self._remembered[key] = known
        return query[:2] + known[2:]

    def _build(self, query: bytes, *, stream: bool) -> bytes | None:
        if len(query) < 12 or query[2] & 0x80:  # shorter than a header, or a response
            return None
        try:
            message = dns.message.from_wire(query, ignore_trailing=True)
        except dns.exception.DNSException:
            return _failure(query, dns.rcode.FORMERR)
        if message.opcode() != dns.opcode.QUERY:
            return _failure(query, dns.rcode.NOTIMP)
        if len(message.question) != 1:
            return _failure(query, dns.rcode.FORMERR)
        response = dns.message.make_response(message, recursion_available=True)
        if message.edns >= 0:
            response.use_edns(0, payload=_EDNS_SIZE)
        question = message.question[0]
        if question.rdclass == dns.rdataclass.IN:
            kind = dns.rdatatype.to_text(question.rdtype)
            _fill(
                response, self._zone.answer(question.name.to_text(omit_final_dot=True), kind), question.name
            )
        else:
            response.set_rcode(dns.rcode.REFUSED)
        return _to_wire(response, _limit(message, stream=stream))


def _limit(query: dns.message.Message, *, stream: bool) -> int:
    if stream:
        return _TCP_SIZE
    return min(max(query.payload, _UDP_SIZE), _EDNS_SIZE) if query.edns >= 0 else _UDP_SIZE


def _fill(response: dns.message.Message, answer: Answer, asked: dns.name.Name) -> None:
    response.set_rcode(dns.rcode.from_text(answer.code))
    if answer.authoritative:
        response.flags |= dns.flags.AA
    response.answer.extend(_sets(answer.records, asked))
    response.additional.extend(_sets(answer.additional, asked))
    if answer.authority is not None:
        response.authority.extend(_sets((answer.authority,), asked))


def _sets(records: tuple[Record, ...], asked: dns.name.Name) -> list[dns.rrset.RRset]:
    """Records of one name and type are one set. The asked name keeps its letters' case: some resolvers compare."""
    grouped: dict[tuple[str, str, int], list[str]] = {}
    for record in records:
        grouped.setdefault((record.name, record.kind, record.ttl), []).append(record.value)
    sets = []
    for (name, kind, ttl), values in grouped.items():
        owner = dns.name.from_text(name)
        sets.append(dns.rrset.from_text(asked if owner == asked else owner, ttl, "IN", kind, *values))
    return sets


def _to_wire(response: dns.message.Message, limit: int) -> bytes:
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.additional.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)


def _failure(query: bytes, code: dns.rcode.Rcode) -> bytes:
    """A bare header: the question could not be read or is not one we answer."""
    flags = 0x8000 | (query[2] & 0x79) << 8 | int(code)
    return query[:2] + flags.to_bytes(2, "big") + bytes(8)
