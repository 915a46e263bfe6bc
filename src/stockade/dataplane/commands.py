"""Operations as lines for the nft program. Called by ``nft``; pure."""

from __future__ import annotations

from stockade.dataplane.ir import FAMILY, TABLE, KeyType
from stockade.dataplane.names import GENERATIONS
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
from stockade.dataplane.render import (
    Marker,
    chain_head,
    generations_body,
    key_text,
    map_body,
    map_elements,
    rule_text,
    set_body,
)

_WHERE = f"{FAMILY} {TABLE}"


def batch_text(batch: Batch) -> str:
    """One file for ``nft -f``: applied as a whole or not at all."""
    marker = Marker(batch.mark_mask, batch.generation)
    return "".join(f"{_line(each, marker)}\n" for each in batch.operations)


def _line(operation: Operation, marker: Marker) -> str:  # noqa: PLR0911, PLR0912, C901 - one line per kind
    match operation:
        case AddTable():
            return f"add table {_WHERE}"
        case DeleteTable():
            return f"delete table {_WHERE}"
        case AddSet(each):
            return f"add set {_WHERE} {each.name} {set_body(each)}"
        case AddMap(mapping):
            return f"add map {_WHERE} {mapping.name} {map_body(mapping)}"
        case AddGenerations():
            return f"add map {_WHERE} {GENERATIONS} {generations_body(marker, full=True)}"
        case TurnGeneration(old):
            gone = f"delete element {_WHERE} {GENERATIONS} {{ {marker.key(old)} }}"
            return f"{gone}\nadd element {_WHERE} {GENERATIONS} {{ {marker.element(marker.generation)} }}"
        case AddCounter(counter):
            return f"add counter {_WHERE} {counter.name}"
        case AddChain(chain):
            head = chain_head(chain)
            return f"add chain {_WHERE} {chain.name}" + (f" {{ {head} }}" if head else "")
        case FlushChain(name):
            return f"flush chain {_WHERE} {name}"
        case AddRule(chain_name, rule):
            return f"add rule {_WHERE} {chain_name} {rule_text(rule, marker)}"
        case AddElements(name, key, elements):
            return f"add element {_WHERE} {name} {{ {_listed(key, elements)} }}"
        case DeleteElements(name, key, elements):
            return f"delete element {_WHERE} {name} {{ {_listed(key, elements)} }}"
        case MapElements(name, map_key, values):
            return f"add element {_WHERE} {name} {{ {map_elements(map_key, values)} }}"
        case UnmapElements(name, map_key, keys):
            listed = ", ".join(key_text(map_key, key) for key in keys)
            return f"delete element {_WHERE} {name} {{ {listed} }}"
        case DeleteChain(name):
            return f"delete chain {_WHERE} {name}"
        case DeleteSet(name):
            return f"delete set {_WHERE} {name}"
        case DeleteCounter(name):
            return f"delete counter {_WHERE} {name}"


def _listed(key: tuple[KeyType, ...], elements: frozenset[tuple[int, ...]]) -> str:
    return ", ".join(
        " . ".join(key_text(kind, value) for kind, value in zip(key, element, strict=True))
        for element in sorted(elements)
    )
