"""Elements of sets and maps, as bytes and back. Called by ``messages`` and ``reading``; pure.

A set's keys all have one length, so its elements differ in nothing but the key: the attributes around it are made once. An
interval is two elements, its first address and the one after its last, flagged as an end; one that reaches to the end of the
address space has no second, and says so in the user data that nft reads. nft begins a set of intervals with an end at 0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from stockade.dataplane.ir import KeyType
from stockade.dataplane.netlink import attribute, attribute_map, attributes, be32, text
from stockade.dataplane.nfnetlink.expressions import HOST_WORD, verdict_data
from stockade.dataplane.nfnetlink.wire import (
    ATTRIBUTE_LIMIT,
    DATA_VALUE,
    DATA_VERDICT,
    ELEMENT_DATA,
    ELEMENT_FLAGS,
    ELEMENT_KEY,
    ELEMENT_USERDATA,
    ELEMENTS_LIST,
    INTERVAL_END,
    KEY_TYPES,
    LIST_ELEMENT,
    VERDICT_ACCEPT,
    VERDICT_CHAIN,
    VERDICT_CODE,
    VERDICT_GOTO,
    container,
)

_OF_THE_HOST = (KeyType.IDENTITY, KeyType.MARK)
_END = be32(ELEMENT_FLAGS, INTERVAL_END)
_OPEN = attribute(ELEMENT_USERDATA, struct.pack("=BBI", 1, 4, 1))  # nft: flags of an element, open interval

Tuples = Iterable[tuple[int, ...]]


def set_elements(key: tuple[KeyType, ...], elements: Tuples) -> list[bytes]:
    prefix = _prefix(sum(_width(kind, padded=len(key) > 1) for kind in key))
    if len(key) == 1:
        pack = _packer(key[0])
        pad = b"\0" * (-KEY_TYPES[key[0]][1] % 4)
        return [prefix + pack(value) + pad for (value,) in elements]
    packers = tuple(_packer(kind, padded=True) for kind in key)
    return [
        prefix + b"".join([pack(value) for pack, value in zip(packers, element, strict=True)])
        for element in elements
    ]


def interval_elements(kind: KeyType, intervals: Tuples, *, whole: bool) -> list[bytes]:
    """``whole``: these are all the intervals of a new set."""
    size = KEY_TYPES[kind][1]
    ordered = sorted(intervals)
    found = [_interval_end(0, size)] if whole and ordered and ordered[0][0] > 0 else []
    for low, high in ordered:
        beyond = high + 1
        if beyond >> (size * 8):
            found.append(container(LIST_ELEMENT, _key(low.to_bytes(size, "big")), _OPEN))
        else:
            found.append(container(LIST_ELEMENT, _key(low.to_bytes(size, "big"))))
            found.append(_interval_end(beyond, size))
    return found


def map_elements(key: KeyType, elements: Mapping[int, int] | Mapping[int, str]) -> list[bytes]:
    pack = _packer(key)
    return [
        container(
            LIST_ELEMENT, _key(pack(each)), _identity(value) if isinstance(value, int) else _goto(value)
        )
        for each, value in elements.items()
    ]


def accepting(mark: int) -> bytes:
    """One element of the map of generations."""
    verdict = container(ELEMENT_DATA, verdict_data(VERDICT_ACCEPT))
    return container(LIST_ELEMENT, _key(HOST_WORD.pack(mark)), verdict)


def read_accepting(body: bytes) -> list[int]:
    """The marks that are accepted. Raises KeyError or ValueError when the list has another element."""
    found = []
    for _, element in attributes(body):
        parts = attribute_map(element)
        verdict = attribute_map(attribute_map(parts[ELEMENT_DATA])[DATA_VERDICT])
        if int.from_bytes(verdict[VERDICT_CODE], "big", signed=True) != VERDICT_ACCEPT:
            raise ValueError("a generation that is not accepted")
        found.append(int(HOST_WORD.unpack(attribute_map(parts[ELEMENT_KEY])[DATA_VALUE])[0]))
    return found


def chunks(elements: list[bytes]) -> Iterator[bytes]:
    """The elements as attributes, each below netlink's limit of 64 KiB."""
    first, size = 0, 0
    for number, element in enumerate(elements):
        size += len(element)
        if size > ATTRIBUTE_LIMIT:
            yield attribute(ELEMENTS_LIST, b"".join(elements[first:number]))
            first, size = number, len(element)
    if first < len(elements):
        yield attribute(ELEMENTS_LIST, b"".join(elements[first:]))


def read_keys(body: bytes, size: int) -> list[tuple[bytes, bool]]:
    """(key, is the end of an interval) of each element of an ELEMENTS_LIST."""
    plain = _plain_keys(body, size)
    if plain is not None:
        return [(key, False) for key in plain]
    found = []
    for _, element in attributes(body):
        parts = attribute_map(element)
        flags = int.from_bytes(parts.get(ELEMENT_FLAGS, b""), "big")
        found.append((attribute_map(parts[ELEMENT_KEY])[DATA_VALUE], bool(flags & INTERVAL_END)))
    return found


def read_pairs(body: bytes) -> Iterator[tuple[bytes, int | str]]:
    """(key, identity or name of the chain) of each element of a map. Raises KeyError or ValueError for any other value."""
    for _, element in attributes(body):
        parts = attribute_map(element)
        data = attribute_map(parts[ELEMENT_DATA])
        yield attribute_map(parts[ELEMENT_KEY])[DATA_VALUE], _value(data)


def read_tuple(key: tuple[KeyType, ...], data: bytes) -> tuple[int, ...]:
    found, at = [], 0
    for kind in key:
        size = KEY_TYPES[kind][1]
        found.append(_number(kind, data[at : at + size]))
        at += size + -size % 4
    return tuple(found)


def read_intervals(kind: KeyType, keys: Iterable[tuple[bytes, bool]]) -> frozenset[tuple[int, int]]:
    """Raises ValueError when starts and ends do not alternate."""
    last = (1 << KEY_TYPES[kind][1] * 8) - 1
    found: list[tuple[int, int]] = []
    start: int | None = None
    # an end before a start of the same address: intervals may touch
    for value, is_start in sorted((int.from_bytes(key, "big"), not end) for key, end in keys):
        if is_start == (start is not None):
            raise ValueError("intervals overlap")
        if is_start:
            start = value
        elif start is not None:
            found.append((start, value - 1))
            start = None
    if start is not None:
        found.append((start, last))
    return frozenset(found)


def key_size(key: tuple[KeyType, ...]) -> int:
    """NFTA_SET_KEY_LEN: parts of a concatenation fill whole registers."""
    return sum(_width(kind, padded=len(key) > 1) for kind in key)


def _plain_keys(body: bytes, size: int) -> list[bytes] | None:
    """The quick way for a list of nothing but keys of one length; None when it is not."""
    prefix = _prefix(size)
    step = len(prefix) + size + -size % 4
    if len(body) % step or body[: len(prefix)] != prefix:
        return None
    start = len(prefix)
    if any(body[at : at + start] != prefix for at in range(0, len(body), step)):
        return None
    return [body[at : at + size] for at in range(start, len(body), step)]


def _value(data: dict[int, bytes]) -> int | str:
    if DATA_VALUE in data:
        return int(HOST_WORD.unpack(data[DATA_VALUE])[0])
    verdict = attribute_map(data[DATA_VERDICT])
    if int.from_bytes(verdict[VERDICT_CODE], "big", signed=True) != VERDICT_GOTO:
        raise ValueError("a verdict that is no goto")
    return text(verdict[VERDICT_CHAIN])


def _key(value: bytes) -> bytes:
    return container(ELEMENT_KEY, attribute(DATA_VALUE, value))


def _interval_end(value: int, size: int) -> bytes:
    return container(LIST_ELEMENT, _key(value.to_bytes(size, "big")), _END)


def _identity(value: int) -> bytes:
    return container(ELEMENT_DATA, attribute(DATA_VALUE, HOST_WORD.pack(value)))


@lru_cache(maxsize=1 << 15)
def _goto(chain: str) -> bytes:
    return container(ELEMENT_DATA, verdict_data(VERDICT_GOTO, chain))


def _prefix(size: int) -> bytes:
    """What stands before the key of an element that has nothing else."""
    whole = container(LIST_ELEMENT, _key(bytes(size)))
    return whole[: len(whole) - size - (-size % 4)]


def _width(kind: KeyType, *, padded: bool) -> int:
    size = KEY_TYPES[kind][1]
    return size + -size % 4 if padded else size


def _number(kind: KeyType, data: bytes) -> int:
    return int(HOST_WORD.unpack(data)[0]) if kind in _OF_THE_HOST else int.from_bytes(data, "big")


def _packer(kind: KeyType, *, padded: bool = False) -> Callable[[int], bytes]:
    return _PADDED[kind] if padded else _PACKERS[kind]


def _pack16(value: int) -> bytes:
    return value.to_bytes(16, "big")


_PACKERS: dict[KeyType, Callable[[int], bytes]] = {
    KeyType.IPV4: struct.Struct("!I").pack,
    KeyType.IPV6: _pack16,
    KeyType.PROTOCOL: struct.Struct("!B").pack,
    KeyType.SERVICE: struct.Struct("!H").pack,
    KeyType.ICMPV6_TYPE: struct.Struct("!B").pack,
    KeyType.IDENTITY: HOST_WORD.pack,
    KeyType.MARK: HOST_WORD.pack,
}
_PADDED: dict[KeyType, Callable[[int], bytes]] = {
    **_PACKERS,
    KeyType.PROTOCOL: struct.Struct("!B3x").pack,
    KeyType.SERVICE: struct.Struct("!H2x").pack,
    KeyType.ICMPV6_TYPE: struct.Struct("!B3x").pack,
}
