"""The question in a DNS query, read strictly. Pure, standard library only: it runs in the pod, where strangers' bytes arrive.

In: the bytes of a query. Out: ``Question``; or the answer there is without knowing any name (not implemented, malformed); or None for
what is no query, to which nothing is sent back (no loops between servers). Called by ``replica`` (in a pod) and ``wire``.
Rules: RFC 1035 4.1 (a name in a question is never compressed), RFC 6891 6.1 (one OPT record, in the additional section).
"""

from __future__ import annotations

from typing import Final, NamedTuple

_HEADER: Final = 12
_LONGEST_LABEL, _LONGEST_NAME = 63, 255
_MOST_RECORDS: Final = 8
_POINTER: Final = 0xC0
_OPT: Final = 41
_FORMERR, _NOTIMP = 1, 4


class Question(NamedTuple):
    """``labels`` as they were written; ``payload`` is what EDNS says the asker can take, -1 without EDNS; ``version`` is EDNS's."""

    labels: tuple[bytes, ...]
    type: int
    rdclass: int
    payload: int
    version: int
    recursion: bool


class _BrokenError(Exception):
    """The bytes end too early, or are no name."""


def read(query: bytes) -> Question | bytes | None:
    if len(query) < _HEADER or query[2] & 0x80:  # shorter than a header, or a response
        return None
    if query[2] & 0x78:
        return failure(query, _NOTIMP)
    counts = [_number(query, at) for at in (4, 6, 8, 10)]
    if counts[0] != 1 or sum(counts) > _MOST_RECORDS:
        return failure(query, _FORMERR)
    try:
        labels, at = _name(query, _HEADER)
        kind, rdclass = _number(query, at), _number(query, at + 2)
        payload, version = _edns(query, at + 4, counts)
    except _BrokenError:
        return failure(query, _FORMERR)
    return Question(labels, kind, rdclass, payload, version, bool(query[2] & 1))


def failure(query: bytes, code: int) -> bytes:
    """A bare header: the question could not be read or is not one we answer."""
    flags = 0x8000 | (query[2] & 0x79) << 8 | code
    return query[:2] + flags.to_bytes(2, "big") + bytes(8)


def _number(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise _BrokenError
    return int.from_bytes(data[at : at + 2], "big")


def _name(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """The labels, and where the name ends."""
    labels: list[bytes] = []
    start = at
    while True:
        if at >= len(data):
            raise _BrokenError
        length = data[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > _LONGEST_LABEL or at + length > len(data) or at + length - start >= _LONGEST_NAME:
            raise _BrokenError
        labels.append(data[at : at + length])
        at += length


def _edns(data: bytes, at: int, counts: list[int]) -> tuple[int, int]:
    """Payload size and version of the OPT record; -1 and 0 when there is none."""
    payload, version = -1, 0
    for index in range(sum(counts[1:])):
        at = _after_name(data, at)
        kind, size, length = _number(data, at), _number(data, at + 2), _number(data, at + 8)
        if kind == _OPT:
            if payload >= 0 or index < counts[1] + counts[2]:
                raise _BrokenError
            payload, version = size, data[at + 5]
        at += 10 + length
        if at > len(data):
            raise _BrokenError
    return payload, version


def _after_name(data: bytes, at: int) -> int:
    """Past the owner of a record, which may be compressed."""
    while at < len(data):
        length = data[at]
        if length >= _POINTER:
            return at + 2
        at += 1 + length
        if length == 0:
            return at
    raise _BrokenError
