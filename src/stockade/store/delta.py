"""Deltas: how one ClusterState becomes the next.

In: what a reflector saw (an object added or changed, an object gone, a full list). Out: a new ClusterState.
Called by the agent and the lab. Several deltas applied at once copy each touched table once, so a burst costs little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stockade.model.meta import ObjectRef, View
from stockade.store.state import FIELDS, ClusterState, key_of, table_key


class Upsert(msgspec.Struct, frozen=True):
    """``object`` was added or changed. ``kind`` is the plural resource name: "pods", "networkpolicies" ..."""

    kind: str
    object: View


class Delete(msgspec.Struct, frozen=True):
    """The object named ``ref`` is gone; no error when it was never there (a watch may repeat itself)."""

    kind: str
    ref: ObjectRef


class Replace(msgspec.Struct, frozen=True):
    """A full list: exactly these ``objects`` of the kind exist (first list, or the list after a 410 Gone)."""

    kind: str
    objects: tuple[View, ...]


Delta = Upsert | Delete | Replace


def apply(state: ClusterState, deltas: Iterable[Delta]) -> ClusterState:
    """In order. Returns ``state`` itself when nothing changed, so that callers can skip a compile."""
    touched: dict[str, dict[Any, View]] = {}
    for delta in deltas:
        if delta.kind not in FIELDS:
            raise ValueError(f"unknown kind {delta.kind!r}; known: {', '.join(FIELDS)}")
        table = touched.get(delta.kind)
        if table is None:
            table = touched[delta.kind] = dict(getattr(state, FIELDS[delta.kind]))
        _apply_one(table, delta)
    changed = {kind: table for kind, table in touched.items() if table != getattr(state, FIELDS[kind])}
    return state.replacing(changed) if changed else state


def _apply_one(table: dict[Any, View], delta: Delta) -> None:
    match delta:
        case Upsert(kind=kind, object=item):
            table[key_of(kind, item)] = item
        case Delete(kind=kind, ref=ref):
            table.pop(table_key(kind, ref), None)
        case Replace(kind=kind, objects=objects):
            table.clear()
            table.update((key_of(kind, item), item) for item in objects)
