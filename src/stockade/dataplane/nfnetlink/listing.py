"""The table as the kernel lists it: messages in, values of ``ir`` and the bytes of rules out. Called by ``reading``; pure.

Raises ``Foreign`` for anything that is not of our making.
"""

from __future__ import annotations

from typing import cast

import msgspec

from stockade.dataplane.ir import (
    Chain,
    Counter,
    Hook,
    IdentityMap,
    KeyType,
    NamedSet,
    Ruleset,
    VerdictMap,
    mask_shift,
)
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.netlink import Message, attribute_map, attributes, text
from stockade.dataplane.nfnetlink import expressions as e
from stockade.dataplane.nfnetlink import wire as w
from stockade.dataplane.nfnetlink.elements import (
    read_accepting,
    read_intervals,
    read_keys,
    read_pairs,
    read_tuple,
)
from stockade.dataplane.nfnetlink.objects import key_types

_SET_F_CONCAT = 0x80  # says nothing that the key's type does not say
_KNOWN_FLAGS = w.SET_F_INTERVAL | w.SET_F_MAP | _SET_F_CONCAT
_HOOK_NAMES = {number: name for name, number in w.HOOKS.items()}


class Foreign(ValueError):  # noqa: N818 - a finding, not a fault
    """The table holds something that we never make."""


class SetHead(msgspec.Struct, frozen=True):
    """A set or map without its elements."""

    name: str
    key: tuple[KeyType, ...]
    interval: bool
    data: KeyType | str | None  # "verdict"


def set_head(message: Message) -> SetHead:
    parts = attribute_map(message.body, w.NFGEN_SIZE)
    flags = _number(parts, w.SET_FLAGS)
    name = text(parts[w.SET_NAME])
    if flags & ~_KNOWN_FLAGS:
        raise Foreign(f"set {name} has flags {flags:#x}")
    try:
        key = key_types(_number(parts, w.SET_KEY_TYPE))
    except KeyError:
        raise Foreign(f"set {name} has keys of a type we do not use") from None
    interval = bool(flags & w.SET_F_INTERVAL)
    if interval and len(key) > 1:
        raise Foreign(f"set {name} has intervals of concatenations")
    return SetHead(name, key, interval, _data(name, flags, _number(parts, w.SET_DATA_TYPE)))


def _data(name: str, flags: int, number: int) -> KeyType | str | None:
    if not flags & w.SET_F_MAP:
        return None
    if number == w.DATA_TYPE_VERDICT:
        return "verdict"
    if number == w.KEY_TYPES[KeyType.IDENTITY][0]:
        return KeyType.IDENTITY
    raise Foreign(f"map {name} has values of a type we do not use")


def set_value(head: SetHead, messages: list[Message]) -> NamedSet | IdentityMap | VerdictMap:
    """``messages`` list its elements."""
    bodies = [attribute_map(each.body, w.NFGEN_SIZE).get(w.ELEMENTS_LIST, b"") for each in messages]
    try:
        if head.data is None:
            return _named_set(head, bodies)
        pairs = {read_tuple(head.key, key)[0]: value for body in bodies for key, value in read_pairs(body)}
        if head.data == "verdict":
            return VerdictMap(head.name, cast(dict[int, str], pairs))
        return IdentityMap(head.name, head.key[0], cast(dict[int, int], pairs))
    except (KeyError, ValueError) as error:
        raise Foreign(f"set {head.name} has an element we never make: {error}") from error


def _named_set(head: SetHead, bodies: list[bytes]) -> NamedSet:
    size = sum(w.KEY_TYPES[kind][1] for kind in head.key)
    if len(head.key) > 1:
        size = sum(-(-w.KEY_TYPES[kind][1] // 4) * 4 for kind in head.key)
    keys = [pair for body in bodies if body for pair in read_keys(body, size)]
    if not head.interval:
        elements = frozenset(read_tuple(head.key, key) for key, _ in keys)
        return NamedSet(head.name, head.key, elements)
    intervals = read_intervals(head.key[0], (pair for pair in keys if pair != (bytes(size), True)))
    return NamedSet(head.name, head.key, intervals, interval=True)


def chain(message: Message) -> Chain:
    parts = attribute_map(message.body, w.NFGEN_SIZE)
    name = text(parts[w.CHAIN_NAME])
    if w.CHAIN_HOOK not in parts:
        return Chain(name, ())
    hook = attribute_map(parts[w.CHAIN_HOOK])
    number = _number(hook, w.HOOK_NUMBER)
    kind = text(parts.get(w.CHAIN_TYPE, b""))
    if kind != "filter" or _number(parts, w.CHAIN_POLICY) != w.POLICY_ACCEPT or number not in _HOOK_NAMES:
        raise Foreign(f"chain {name} is of type {kind} or does not accept by default")
    priority = int.from_bytes(hook[w.HOOK_PRIORITY], "big", signed=True)
    return Chain(name, (), hook=Hook(_HOOK_NAMES[number], priority))


def rule(message: Message) -> tuple[str, bytes]:
    """The name of its chain, and its expressions."""
    parts = attribute_map(message.body, w.NFGEN_SIZE)
    return text(parts[w.RULE_CHAIN]), parts.get(w.RULE_EXPRESSIONS, b"")


def counter(message: Message) -> tuple[str, int, int]:
    """Name, packets, bytes."""
    parts = attribute_map(message.body, w.NFGEN_SIZE)
    name = text(parts[w.OBJECT_NAME])
    if _number(parts, w.OBJECT_TYPE) != w.OBJECT_COUNTER:
        raise Foreign(f"object {name} is no counter")
    counted = attribute_map(parts[w.OBJECT_DATA])
    return name, _number(counted, w.COUNTER_PACKETS), _number(counted, w.COUNTER_BYTES)


def mask_of(expressions: bytes) -> int | None:
    """When the rule asks the map of generations for the connection's mark, under which mask."""
    steps = [attribute_map(step) for _, step in attributes(expressions)]
    if [text(step.get(1, b"")) for step in steps] != ["ct", "bitwise", "lookup"]:
        return None
    load, masked, asked = (attribute_map(step[2]) for step in steps)
    if _number(load, 2) != e.CT_MARK or text(asked.get(1, b"")) != GENERATIONS:
        return None
    return int(e.HOST_WORD.unpack(attribute_map(masked[4])[w.DATA_VALUE])[0]) or None


def generation(messages: list[Message], mask: int) -> int:
    """The one element of the map of generations."""
    bodies = [attribute_map(each.body, w.NFGEN_SIZE).get(w.ELEMENTS_LIST, b"") for each in messages]
    try:
        (mark,) = (mark for body in bodies for mark in read_accepting(body))
    except (KeyError, ValueError) as error:
        raise Foreign(f"map {GENERATIONS} does not hold one generation: {error}") from error
    if mark & ~mask:
        raise Foreign(f"map {GENERATIONS} holds bits that are not asked for")
    return mark >> mask_shift(mask)


def same_rule(sent: bytes, listed: bytes) -> bool:
    """Equal bytes, as all kernels so far list them. For others: the same expressions, each with what we sent; attributes that
    only one side has must be zero on ours or be unknown to us."""
    if sent == listed:
        return True
    ours, theirs = ([attribute_map(step) for _, step in attributes(side)] for side in (sent, listed))
    if [step[1] for step in ours] != [step.get(1) for step in theirs]:
        return False
    return all(_same(own[2], other.get(2, b"")) for own, other in zip(ours, theirs, strict=True))


def _same(own: bytes, other: bytes) -> bool:
    listed = attribute_map(other)
    return all(
        listed.get(kind, value if not any(value) else None) == value for kind, value in attributes(own)
    )


def ruleset(
    sets: list[NamedSet | IdentityMap | VerdictMap],
    counters: list[str],
    chains: list[Chain],
    mark_mask: int,
) -> Ruleset:
    return Ruleset(
        sets={each.name: each for each in sets if isinstance(each, NamedSet)},
        identities={each.name: each for each in sets if isinstance(each, IdentityMap)},
        maps={each.name: each for each in sets if isinstance(each, VerdictMap)},
        counters={name: Counter(name) for name in counters},
        chains={each.name: each for each in chains},
        fenced=(),
        mark_mask=mark_mask,
    )


def _number(parts: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(parts.get(kind, b""), "big")
