"""``nft -j list table`` in, a comparable inventory out; and the same inventory of a Ruleset. Called by ``nft``; pure.

Elements are compared one by one, for a return code of 0 does not prove that each arrived (reference dataplane, trap 3); rules by
their number, and by ``digest`` from one reading to the next.
"""

from __future__ import annotations

import hashlib
from typing import Any

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
from stockade.dataplane.names import FORWARD, GENERATIONS
from stockade.dataplane.render import identity_text
from stockade.net.cidr import format_address, parse_address, parse_block

Elements = frozenset[tuple[str, ...]]


class Inventory(msgspec.Struct, frozen=True):
    """Elements of sets and maps as text, the names of counters, and how many rules each chain has."""

    sets: dict[str, Elements]
    maps: dict[str, Elements]
    counters: frozenset[str]
    chains: dict[str, int]


def expected(ruleset: Ruleset) -> Inventory:
    maps = {name: _own_map(each.key, each.elements) for name, each in ruleset.identities.items()}
    maps |= {name: _own_map(KeyType.IDENTITY, each.elements) for name, each in ruleset.maps.items()}
    return Inventory(
        sets={name: frozenset(_own_set(each)) for name, each in ruleset.sets.items()},
        maps=maps,
        counters=frozenset(ruleset.counters),
        chains={name: len(chain.rules) for name, chain in ruleset.chains.items()},
    )


def read(listing: dict[str, Any]) -> Inventory:
    """Raises KeyError, TypeError or ValueError when the listing is not what nft writes for a table of ours."""
    items = [item for entry in listing["nftables"] for item in entry.items()]
    chains = {body["name"]: 0 for kind, body in items if kind == "chain"}
    for kind, body in items:
        if kind == "rule":
            chains[body["chain"]] += 1
    return Inventory(
        sets={b["name"]: frozenset(map(_element, b.get("elem", ()))) for k, b in items if k == "set"},
        maps={b["name"]: frozenset(map(_pair, b.get("elem", ()))) for b in _maps(items)},
        counters=frozenset(b["name"] for k, b in items if k == "counter"),
        chains=chains,
    )


def _maps(items: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """But for the map of generations, which ``generation`` reads."""
    return [body for kind, body in items if kind == "map" and body["name"] != GENERATIONS]


def digest(listing: dict[str, Any]) -> str:
    """Equal as long as nobody changed the table; rates and handles are in it, what counters count is not."""
    still = [entry for entry in listing["nftables"][1:] if "counter" not in entry]
    return hashlib.sha256(msgspec.json.encode(still)).hexdigest()


def generation(listing: dict[str, Any]) -> tuple[int, int] | None:
    """(mask, generation): the mask of the rule in the forward hook that asks the map of generations, and what is in the map."""
    mask = number = None
    for entry in listing["nftables"]:
        rule, mapping = entry.get("rule", {}), entry.get("map", {})
        if rule.get("chain") == FORWARD:
            asked = [each["vmap"]["key"] for each in rule.get("expr", ()) if "vmap" in each]
            mask = next((int(key["&"][1]) for key in asked if "&" in key), mask)
        if mapping.get("name") == GENERATIONS:
            elements = mapping.get("elem", ())
            values = [int(key) for key, verdict in elements if "accept" in verdict]
            number = values[0] if len(values) == len(elements) == 1 else None
    return None if mask is None or number is None else (mask, number >> mask_shift(mask))


def table(listing: dict[str, Any], mark_mask: int) -> Ruleset:
    """What the kernel holds, as a Ruleset whose chains have no rules. Raises like ``read``."""
    items = [item for entry in listing["nftables"] for item in entry.items()]
    maps = _maps(items)
    return Ruleset(
        sets={body["name"]: _named_set(body) for kind, body in items if kind == "set"},
        identities={b["name"]: _identity_map(b) for b in maps if b["map"] != "verdict"},
        maps={b["name"]: _verdict_map(b) for b in maps if b["map"] == "verdict"},
        counters={body["name"]: Counter(body["name"]) for kind, body in items if kind == "counter"},
        chains={body["name"]: _chain(body) for kind, body in items if kind == "chain"},
        fenced=(),
        mark_mask=mark_mask,
    )


def _named_set(body: dict[str, Any]) -> NamedSet:
    types = body["type"] if isinstance(body["type"], list) else [body["type"]]
    key = tuple(map(KeyType, types))
    interval = "interval" in body.get("flags", ())
    kinds = key * 2 if interval else key
    elements = [_element(item) for item in body.get("elem", ())]
    if interval:
        elements = [element * 2 if len(element) == 1 else element for element in elements]
    values = (tuple(map(_number, kinds, element)) for element in elements)
    return NamedSet(body["name"], key, frozenset(values), interval=interval)


def _identity_map(body: dict[str, Any]) -> IdentityMap:
    key = KeyType(body["type"])
    pairs = map(_pair, body.get("elem", ()))
    elements = {_number(key, address): _number(KeyType.IDENTITY, number) for address, number in pairs}
    return IdentityMap(body["name"], key, elements)


def _verdict_map(body: dict[str, Any]) -> VerdictMap:
    pairs = map(_pair, body.get("elem", ()))
    return VerdictMap(body["name"], {_number(KeyType.IDENTITY, number): chain for number, chain in pairs})


def _chain(body: dict[str, Any]) -> Chain:
    hook = Hook(body["hook"], int(body["prio"])) if "hook" in body else None
    return Chain(body["name"], (), hook=hook)


def _number(kind: KeyType, text: str) -> int:
    if kind.family is not None:
        return parse_address(text)[1]
    if kind is KeyType.IDENTITY:
        major, _, minor = text.partition(":")
        return int(major, 16) << 16 | int(minor, 16)
    named = {v: k for k, v in _ND_NAMES.items()}
    return named[text] if text in named else int(text)


def _own_set(each: NamedSet) -> list[tuple[str, ...]]:
    if each.interval:  # nft writes an interval of one address as that address
        ends = ((low,) if low == high else (low, high) for low, high in each.elements)
        return [tuple(_own_key(each.key[0], end) for end in element) for element in ends]
    return [tuple(map(_own_key, each.key, element)) for element in each.elements]


def _own_map(key: KeyType, elements: dict[int, int] | dict[int, str]) -> Elements:
    return frozenset(
        (_own_key(key, a), value if isinstance(value, str) else identity_text(value))
        for a, value in elements.items()
    )


def _own_key(kind: KeyType, value: int) -> str:
    if kind.family is not None:
        return format_address(kind.family, value)
    if kind is KeyType.IDENTITY:
        return identity_text(value)
    if kind is KeyType.ICMPV6_TYPE:
        return _ND_NAMES.get(value, str(value))
    return str(value)


def _element(item: Any) -> tuple[str, ...]:
    if isinstance(item, dict):
        if "elem" in item:
            return _element(item["elem"]["val"])
        if "concat" in item:
            return tuple(map(str, item["concat"]))
        if "prefix" in item:
            block = parse_block(f"{item['prefix']['addr']}/{item['prefix']['len']}")
            return format_address(block.family, block.low), format_address(block.family, block.high)
        return tuple(map(str, item["range"]))
    return (str(item),)


def _pair(item: Any) -> tuple[str, ...]:
    key, value = item
    return (*_element(key), value["goto"]["target"] if isinstance(value, dict) else str(value))


_ND_NAMES = {
    133: "nd-router-solicit",
    134: "nd-router-advert",
    135: "nd-neighbor-solicit",
    136: "nd-neighbor-advert",
    137: "nd-redirect",
}
