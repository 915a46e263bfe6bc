"""``nft -j list table`` in, a comparable inventory out; and the same inventory of a Ruleset. Called by ``nft``; pure.

Elements are compared one by one, for a return code of 0 does not prove that each arrived (reference dataplane, trap 3); rules by
their number, and by ``digest`` from one reading to the next.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from stockade.dataplane.ir import PROTOCOLS, KeyType, NamedSet, Ruleset, mask_shift
from stockade.net.cidr import format_address, parse_block

Elements = frozenset[tuple[str, ...]]


class Inventory(msgspec.Struct, frozen=True):
    """Elements of sets and maps as text, and how many rules each chain has."""

    sets: dict[str, Elements]
    maps: dict[str, Elements]
    chains: dict[str, int]


def expected(ruleset: Ruleset) -> Inventory:
    return Inventory(
        sets={name: frozenset(_own_set(each)) for name, each in ruleset.sets.items()},
        maps={
            name: frozenset((_own_key(each.key, a), chain) for a, chain in each.elements.items())
            for name, each in ruleset.maps.items()
        },
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
        maps={b["name"]: frozenset(map(_pair, b.get("elem", ()))) for k, b in items if k == "map"},
        chains=chains,
    )


def digest(listing: dict[str, Any]) -> str:
    """Equal as long as nobody changed the table; rates and handles are in it, packet counts are not (we use no counters)."""
    return hashlib.sha256(msgspec.json.encode(listing["nftables"][1:])).hexdigest()


def generation(listing: dict[str, Any]) -> int | None:
    """The value that the rule of chain ``gate`` compares the masked mark with. nft writes a mask of leading bits as a prefix."""
    for entry in listing["nftables"]:
        for statement in entry.get("rule", {}).get("expr", ()):
            match = statement.get("match")
            if match is None:
                continue
            left, right = match["left"], match["right"]
            if isinstance(right, dict) and "prefix" in right:
                return int(right["prefix"]["addr"]) >> (32 - int(right["prefix"]["len"]))
            if isinstance(left, dict) and "&" in left:
                return int(right) >> mask_shift(int(left["&"][1]))
    return None


def _own_set(each: NamedSet) -> list[tuple[str, ...]]:
    if each.interval:
        return [tuple(_own_key(each.key[0], end) for end in element) for element in each.elements]
    return [tuple(map(_own_key, each.key, element)) for element in each.elements]


def _own_key(kind: KeyType, value: int) -> str:
    if kind.family is not None:
        return format_address(kind.family, value)
    if kind is KeyType.ICMPV6_TYPE:
        return _ND_NAMES.get(value, str(value))
    return _PROTOCOL_NAMES.get(value, str(value)) if kind is KeyType.PROTOCOL else str(value)


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
    key, verdict = item
    return (*_element(key), verdict["goto"]["target"])


_PROTOCOL_NAMES = {PROTOCOLS["TCP"]: "tcp", PROTOCOLS["UDP"]: "udp", PROTOCOLS["SCTP"]: "sctp"}
_ND_NAMES = {
    133: "nd-router-solicit",
    134: "nd-router-advert",
    135: "nd-neighbor-solicit",
    136: "nd-neighbor-advert",
    137: "nd-redirect",
}
