"""Operations in, the messages of one transaction out, each with the operation it is for. Called by ``backend``; pure.

    begin (generation id) | message | message | ... | end        one datagram: the kernel does all of it or nothing

Only the last message asks for an acknowledgement: the kernel reports every refusal anyway, and 30 000 acknowledgements would
not fit into the socket's buffer. A message's sequence number is its place, which leads from a refusal back to the operation.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator

import msgspec

from stockade.dataplane.ir import KeyType, mark_value
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, attribute, be32
from stockade.dataplane.nfnetlink import objects as o
from stockade.dataplane.nfnetlink.elements import (
    accepting,
    chunks,
    interval_elements,
    map_elements,
    set_elements,
)
from stockade.dataplane.nfnetlink.rules import Mark, encode_rule
from stockade.dataplane.nfnetlink.wire import (
    BATCH_BEGIN,
    BATCH_END,
    BATCH_GENID,
    BATCH_NFGEN,
    IN_TABLE,
    RULE_EXPRESSIONS,
    Kind,
)
from stockade.dataplane.operations import (
    AddChain,
    AddCounter,
    AddElements,
    AddGenerations,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
    Batch,
    DeleteChain,
    DeleteCounter,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    MapElements,
    Operation,
    TurnGeneration,
    UnmapElements,
)
from stockade.dataplane.render import GENERATIONS_SIZE

_HEADER = struct.Struct("=IHHII")
_HEADER_SIZE = _HEADER.size
_NamedObject = AddCounter | AddChain | FlushChain | DeleteChain | DeleteSet | DeleteCounter
_OfElements = AddElements | DeleteElements | MapElements | UnmapElements
_Other = (
    AddGenerations | TurnGeneration | AddTable | DeleteTable | AddSet | AddMap | _OfElements | _NamedObject
)
_Message = tuple[int, int, bytes]  # kind, flags, body
_APPEND = NLM_F_CREATE | NLM_F_APPEND
FIRST_SEQUENCE = 1  # of the first message after the begin, which has 0


class TableFlags(msgspec.Struct, frozen=True):
    """``first``: what AddTable says while a table of an earlier life may be there, whose flags it must repeat; ``wanted``: what
    it says of the table made anew after DeleteTable. ``claim``: begin with AddTable, to adopt the table in force."""

    first: int = 0
    wanted: int = 0
    claim: bool = False


class Encoded:
    """The messages of a transaction in their wire form, and for each the operation that it is for."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.operations: list[Operation] = []
        self._last: tuple[int, int, bytes] = (0, 0, b"")

    def add(self, operation: Operation, kind: int, flags: int, body: bytes) -> None:
        """``body`` is made of padded attributes: always a multiple of four bytes."""
        self._last = (kind, flags, body)
        self.operations.append(operation)
        number = len(self.operations)
        self.messages.append(
            _HEADER.pack(_HEADER_SIZE + len(body), kind, flags | NLM_F_REQUEST, number, 0) + body
        )

    def datagram(self, generation_id: int) -> bytes:
        """``generation_id`` 0: whatever is in force."""
        condition = be32(BATCH_GENID, generation_id) if generation_id else b""
        begin = _pack(BATCH_BEGIN, NLM_F_REQUEST, 0, BATCH_NFGEN + condition)
        count = len(self.messages)
        end = _pack(BATCH_END, NLM_F_REQUEST, count + 1, BATCH_NFGEN)
        if not count:
            return begin + end
        kind, flags, body = self._last
        last = _pack(kind, flags | NLM_F_REQUEST | NLM_F_ACK, count, body)
        return b"".join((begin, *self.messages[:-1], last, end))


def encode(batch: Batch, flags: TableFlags | None = None) -> Encoded:
    return _Encoder(batch, flags or TableFlags()).run(batch.operations)


def _pack(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER_SIZE + len(body), kind, flags, sequence, 0) + body


class _Encoder:
    def __init__(self, batch: Batch, flags: TableFlags) -> None:
        self._mark = Mark(batch.mark_mask, batch.generation)
        self._mask, self._generation = batch.mark_mask, batch.generation
        self._flags = flags
        self._sets = 0
        self._deleted = False

    def run(self, operations: Iterable[Operation]) -> Encoded:
        found = Encoded()
        if self._flags.claim:
            found.add(AddTable(), *self._table(AddTable()))
        for operation in operations:
            if isinstance(operation, AddRule):  # most of a full load
                found.add(operation, Kind.NEWRULE, _APPEND, self._rule(operation))
            else:
                for kind, flags, body in self._messages(operation):
                    found.add(operation, kind, flags, body)
        return found

    def _rule(self, operation: AddRule) -> bytes:
        expressions = attribute(RULE_EXPRESSIONS, encode_rule(operation.rule, self._mark))
        return o.rules_of(operation.chain) + expressions

    def _messages(self, operation: _Other) -> Iterator[_Message]:
        match operation:
            case AddElements() | DeleteElements() | MapElements() | UnmapElements():
                yield from _elements(operation)
            case AddSet(each):
                yield Kind.NEWSET, NLM_F_CREATE, o.new_set(each, self._number())
                yield from _filled(Kind.NEWSETELEM, each.name, _tuples(each.key, each.elements, whole=True))
            case AddMap(each):
                yield Kind.NEWSET, NLM_F_CREATE, o.new_map(each, self._number())
            case AddGenerations():
                yield Kind.NEWSET, NLM_F_CREATE, o.new_generations(GENERATIONS_SIZE, self._number())
                yield self._accepting(Kind.NEWSETELEM, self._generation)
            case TurnGeneration(old):
                yield self._accepting(Kind.DELSETELEM, old)
                yield self._accepting(Kind.NEWSETELEM, self._generation)
            case AddTable() | DeleteTable():
                yield self._table(operation)
            case named:
                yield _object(named)

    def _accepting(self, kind: Kind, generation: int) -> _Message:
        flags = NLM_F_CREATE if kind is Kind.NEWSETELEM else 0
        (listed,) = chunks([accepting(mark_value(self._mask, generation))])
        return kind, flags, o.elements_of(GENERATIONS) + listed

    def _number(self) -> int:
        self._sets += 1
        return self._sets

    def _table(self, operation: AddTable | DeleteTable) -> _Message:
        if isinstance(operation, DeleteTable):
            self._deleted = True
            return Kind.DELTABLE, 0, IN_TABLE
        flags = self._flags.wanted if self._deleted else self._flags.first
        return Kind.NEWTABLE, NLM_F_CREATE, o.table(flags)


def _elements(operation: _OfElements) -> Iterator[_Message]:
    match operation:
        case AddElements(name, key, elements):
            yield from _filled(Kind.NEWSETELEM, name, _tuples(key, elements))
        case DeleteElements(name, key, elements):
            yield from _filled(Kind.DELSETELEM, name, _tuples(key, elements))
        case MapElements(name, key, mapping):
            yield from _filled(Kind.NEWSETELEM, name, map_elements(key, mapping))
        case UnmapElements(name, key, keys):
            yield from _filled(Kind.DELSETELEM, name, set_elements((key,), ((each,) for each in keys)))


def _tuples(
    key: tuple[KeyType, ...], elements: frozenset[tuple[int, ...]], *, whole: bool = False
) -> list[bytes]:
    """Intervals are pairs where the key has one part."""
    if any(len(element) > len(key) for element in itertools.islice(elements, 1)):
        return interval_elements(key[0], elements, whole=whole)
    return set_elements(key, elements)


def _filled(kind: Kind, name: str, elements: list[bytes]) -> Iterator[_Message]:
    """Nothing for nothing."""
    flags = NLM_F_CREATE if kind is Kind.NEWSETELEM else 0
    start = o.elements_of(name)
    for chunk in chunks(elements):
        yield kind, flags, start + chunk


def _object(operation: _NamedObject) -> _Message:
    match operation:
        case AddCounter(counter):
            return Kind.NEWOBJ, NLM_F_CREATE, o.new_counter(counter.name)
        case AddChain(chain):
            return Kind.NEWCHAIN, NLM_F_CREATE, o.new_chain(chain)
        case FlushChain(name):
            return Kind.DELRULE, 0, o.rules_of(name)
        case DeleteChain(name):
            return Kind.DELCHAIN, 0, o.chain_name(name)
        case DeleteSet(name):
            return Kind.DELSET, 0, o.set_name(name)
        case DeleteCounter(name):
            return Kind.DELOBJ, 0, o.counter_name(name)
