"""Deltas: how one ClusterState becomes the next.

In: what a reflector saw (an object added or changed, an object gone, a full list). Out: a new ClusterState.
Called by the agent and the lab. Several deltas applied at once copy each touched table once, so a burst costs little, and one that
changes nothing copies none. ``changed`` tells where to look for the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    tables: dict[str, _Table] = {}
    for delta in deltas:
        if delta.kind not in FIELDS:
            raise ValueError(f"unknown kind {delta.kind!r}; known: {', '.join(FIELDS)}")
        table = tables.get(delta.kind)
        if table is None:
            table = tables[delta.kind] = _Table(getattr(state, FIELDS[delta.kind]))
        table.apply(delta)
    changed = {kind: table.now for kind, table in tables.items() if table.changed}
    return state.replacing(changed) if changed else state


def changed(kind: str, before: ClusterState, after: ClusterState, deltas: Iterable[Delta]) -> set[Any]:
    """Keys of objects that came, went or changed on the way from ``before`` to ``after`` by ``deltas``. Looks at those that ``deltas``
    name only, so that one pod among ten thousand costs no more than one among ten."""
    old, new = getattr(before, FIELDS[kind]), getattr(after, FIELDS[kind])
    if old is new:
        return set()
    named: set[Any] = set()
    for delta in deltas:
        if delta.kind != kind:
            continue
        if isinstance(delta, Replace):
            named.update(old, new)
        else:
            named.add(table_key(kind, delta.ref) if isinstance(delta, Delete) else key_of(kind, delta.object))
    return {key for key in named if old.get(key) != new.get(key)}


class _Table:
    """One table while deltas are applied: copied when the first of them changes something, compared only where they did."""

    def __init__(self, before: Mapping[Any, View]) -> None:
        self._before = before
        self._copy: dict[Any, View] | None = None
        self._touched: set[Any] = set()
        self._replaced = False

    @property
    def now(self) -> Mapping[Any, View]:
        return self._before if self._copy is None else self._copy

    @property
    def changed(self) -> bool:
        if self._replaced:
            return self.now != self._before
        return any(self.now.get(key) != self._before.get(key) for key in self._touched)

    def apply(self, delta: Delta) -> None:
        match delta:
            case Upsert(kind=kind, object=item):
                key = key_of(kind, item)
                if self.now.get(key) != item:
                    self._own(key)[key] = item
            case Delete(kind=kind, ref=ref):
                key = table_key(kind, ref)
                if key in self.now:
                    del self._own(key)[key]
            case Replace(kind=kind, objects=objects):
                self._copy = {key_of(kind, item): item for item in objects}
                self._replaced = True

    def _own(self, key: Any) -> dict[Any, View]:
        if self._copy is None:
            before = self._before
            # A dict's own copy() is one block of memory also when something was deleted; dict() then inserts one by one.
            self._copy = before.copy() if isinstance(before, dict) else dict(before)
        self._touched.add(key)
        return self._copy
