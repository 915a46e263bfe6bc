"""Which operation the kernel refused, in words: names the set, chain or rule, and the element if the kernel pointed at it. Called by
``channel``; pure."""

from __future__ import annotations

from stockade.dataplane.ir import KeyType
from stockade.dataplane.netlink import attribute_map, attributes
from stockade.dataplane.nfnetlink.elements import read_tuple
from stockade.dataplane.nfnetlink.messages import FIRST_SEQUENCE, Encoded
from stockade.dataplane.nfnetlink.wire import DATA_VALUE, ELEMENT_KEY, ELEMENTS_LIST, NFGEN_SIZE
from stockade.dataplane.operations import (
    AddChain,
    AddCounter,
    AddElements,
    AddGenerations,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
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
from stockade.net.cidr import format_address

_HEADER_SIZE = 16
_ATTRIBUTE_SIZE = 4


def explain(encoded: Encoded, sequence: int, offset: int) -> str:
    """``sequence`` and ``offset`` are those of the kernel's answer. The whole transaction, if it refuses no single message."""
    number = sequence - FIRST_SEQUENCE
    if not 0 <= number < len(encoded.operations):
        return "change the table"
    operation = encoded.operations[number]
    found = _element(operation, encoded.messages[number], offset) if offset else ""
    return describe(operation) + (f", element {found}" if found else "")


def describe(operation: Operation) -> str:
    words = _WORDS[type(operation)]
    match operation:
        case AddRule(chain, rule):
            return f"{words} {chain}" + (f" ({rule.origin})" if rule.origin else "")
        case AddSet(named) | AddMap(named) | AddCounter(named) | AddChain(named):
            return f"{words} {named.name}"
        case AddTable() | DeleteTable() | AddGenerations() | TurnGeneration():
            return words
        case _:
            return f"{words} {operation.name}"


_WORDS: dict[type[Operation], str] = {
    AddTable: "add the table",
    DeleteTable: "delete the table",
    AddSet: "add set",
    AddMap: "add map",
    AddGenerations: "add the map of generations",
    TurnGeneration: "turn the generation",
    AddCounter: "add counter",
    AddChain: "add chain",
    FlushChain: "flush chain",
    AddRule: "add a rule to chain",
    AddElements: "add elements to set",
    DeleteElements: "delete elements of set",
    MapElements: "add elements to map",
    UnmapElements: "delete elements of map",
    DeleteChain: "delete chain",
    DeleteSet: "delete set",
    DeleteCounter: "delete counter",
}


def _element(operation: Operation, message: bytes, offset: int) -> str:
    """The key of the element in which the byte at ``offset`` of the message stands."""
    key = _key(operation)
    at = _HEADER_SIZE + NFGEN_SIZE
    for kind, value in attributes(message, at):
        start = at + _ATTRIBUTE_SIZE
        at = start + len(value) + -len(value) % 4
        if kind != ELEMENTS_LIST or not key or not start <= offset < at:
            continue
        for _, element in attributes(value):
            start += _ATTRIBUTE_SIZE + len(element)
            if offset < start:
                data = attribute_map(attribute_map(element)[ELEMENT_KEY])[DATA_VALUE]
                return " . ".join(map(_part, key, read_tuple(key, data)))
    return ""


def _key(operation: Operation) -> tuple[KeyType, ...]:
    match operation:
        case AddSet(each):
            return each.key
        case AddElements(_, key) | DeleteElements(_, key):
            return key
        case MapElements(_, key) | UnmapElements(_, key):
            return (key,)
        case _:
            return ()


def _part(kind: KeyType, value: int) -> str:
    return str(value) if kind.family is None else format_address(kind.family, value)
