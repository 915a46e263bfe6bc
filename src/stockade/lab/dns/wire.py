"""DNS answers as bytes: what was asked (``question``), looked up in a Zone. No sockets.

Called by ``lab.dns.feed`` for the processes that talk to pods. Rules: RFC 1035, 6891 (EDNS: the size is honoured, and versions
that nobody knows are refused), RFC 7766 (a UDP answer that does not fit is truncated and asked again over TCP). No message of a stranger is
parsed here: a query comes as the fields that ``question.read`` found in it.
"""

from __future__ import annotations

from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from stockade.lab.dns import question
from stockade.lab.dns.question import Question
from stockade.lab.dns.records import Answer, Record, Zone

_UDP_SIZE: Final = 512
_EDNS_SIZE: Final = 1232  # fits every path (DNS flag day 2020)
_TCP_SIZE: Final = 65535
_MAX_REMEMBERED: Final = 4096
_TRANSFERS: Final = {dns.rdatatype.AXFR, dns.rdatatype.IXFR}


class Responder:
    """Answers from one Zone; a changed world is a new Responder."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._remembered: dict[tuple[Question, bool], bytes] = {}

    def respond(self, query: bytes, *, stream: bool = False) -> bytes | None:
        """None when the bytes are no query."""
        asked = question.read(query)
        if not isinstance(asked, Question):
            return asked
        return query[:2] + self.answer(asked, stream=stream)[2:]

    def answer(self, asked: Question, *, stream: bool) -> bytes:
        """With the id 0. A repeated question costs a dictionary look-up. ValueError (dns.exception): the labels are no name."""
        key = (asked, stream)
        known = self._remembered.get(key)
        if known is None:
            known = self._build(asked, stream=stream)
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = known
        return known

    def _build(self, asked: Question, *, stream: bool) -> bytes:
        name = dns.name.Name((*asked.labels, b""))
        response = dns.message.QueryMessage(id=0)
        response.flags = dns.flags.QR | dns.flags.RA | (dns.flags.RD if asked.recursion else 0)
        kind = dns.rdatatype.RdataType.make(asked.type)
        rdclass = dns.rdataclass.RdataClass.make(asked.rdclass)
        response.question.append(dns.rrset.RRset(name, rdclass, kind))
        if asked.payload >= 0:
            response.use_edns(0, payload=_EDNS_SIZE)
        if asked.version:
            response.set_rcode(dns.rcode.BADVERS)
        elif rdclass != dns.rdataclass.IN or kind in _TRANSFERS:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            answer = self._zone.answer(name.to_text(omit_final_dot=True), dns.rdatatype.to_text(kind))
            _fill(response, answer, name)
        return _to_wire(response, _limit(asked, stream=stream))


def _limit(asked: Question, *, stream: bool) -> int:
    if stream:
        return _TCP_SIZE
    return min(max(asked.payload, _UDP_SIZE), _EDNS_SIZE) if asked.payload >= 0 else _UDP_SIZE


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
