"""``metadata.managedFields``: who set which field, for every write (KEP-555).

    POST, PUT, PATCH   the writer owns what it changed, nobody any longer what it removed; nothing conflicts      ``updated``
    apply              ``apply`` decides; its entries come from here, too

In: the object before and after; the entries before; the writer. Out: the entries after. Called by the handlers that write, through the store,
when defaults are in. The lab's own parts (controllers, scheduler, kubelet) say by ``registry.MANAGER`` who they are; what nobody owns at the first apply
is then owned by ``before-first-apply``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from stockade.lab.apiserver.fieldsets import Fields, changes, leaves, parse, plant, tree, uproot
from stockade.lab.apiserver.identity import Managers
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import MANAGER, JsonObject
from stockade.lab.apiserver.shapes import shape_of

UPDATE, APPLY = "Update", "Apply"
LONGEST_NAME, MOST_UPDATERS = 128, 10
ANCIENT, BEFORE = "ancient-changes", "before-first-apply"
UNSIGNED = ("events", "leases.coordination.k8s.io")
"""Kinds that the cluster writes all the time and nobody else: their entries would cost and tell nothing."""


class Writer(msgspec.Struct, frozen=True):
    """Identifies an entry. Appliers have no version: an apply of another version continues the same."""

    manager: str
    operation: str = UPDATE
    api_version: str = ""
    subresource: str = ""


class Entry(msgspec.Struct, frozen=True):
    writer: Writer
    fields: Fields
    time: str = ""

    def to_json(self) -> JsonObject:
        found: JsonObject = {
            "manager": self.writer.manager,
            "operation": self.writer.operation,
            "apiVersion": self.writer.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": tree(self.fields),
        }
        if self.writer.subresource:
            found["subresource"] = self.writer.subresource
        return {key: value for key, value in found.items() if value or key == "fieldsV1"}

    def same_writer(self, writer: Writer) -> bool:
        own = self.writer
        if own.operation == APPLY:
            return (own.manager, own.operation, own.subresource) == (
                writer.manager,
                writer.operation,
                writer.subresource,
            )
        return own == writer


def entries_of(obj: JsonObject) -> list[Entry]:
    """What cannot be read is left out."""
    return _read(obj.get("metadata", {}).get("managedFields") or [])


def _read(entries: Iterable[Any]) -> list[Entry]:
    found = []
    for given in entries:
        if isinstance(given, dict) and given.get("manager"):
            writer = Writer(
                str(given["manager"]),
                str(given.get("operation") or UPDATE),
                str(given.get("apiVersion") or ""),
                str(given.get("subresource") or ""),
            )
            found.append(Entry(writer, parse(given.get("fieldsV1") or {}), str(given.get("time") or "")))
    return found


def writer_of(request: web.Request, kind: Kind, subresource: str = "") -> Writer:
    """The ``fieldManager`` parameter, which ``options`` has checked, or the program of the User-Agent."""
    name = request.query.get("fieldManager", "")
    if not name:
        agent = request.headers.get("User-Agent", "").partition("/")[0]
        name = "".join(letter for letter in agent if letter.isprintable())[:LONGEST_NAME].strip() or "unknown"
    return Writer(name, UPDATE, kind.api_version, subresource)


def of_part(kind: Kind, subresource: str, now: str) -> Managers | None:
    """The entries after a write of a part of the cluster, which may edit the new object's; None leaves them as they are."""
    name = MANAGER.get()
    if not name or subresource == "binding" or kind.resource in UNSIGNED:
        return None
    writer = Writer(name, UPDATE, kind.api_version, subresource)
    return lambda old, new: updated(kind, old, new, new["metadata"].get("managedFields") or [], writer, now)


def updated(
    kind: Kind, old: JsonObject | None, new: JsonObject, before: list[JsonObject], writer: Writer, now: str
) -> list[JsonObject]:
    """``old`` None: the object is new. ``before`` is edited."""
    if old is None and not before:
        fields = frozenset(leaves(new, shape_of(kind)))
        return [Entry(writer, fields, now).to_json()] if fields else []
    found = changes(old or {}, new, shape_of(kind))
    if not found.changed and not found.removed:
        return before
    mine = next((entry for entry in before if _is_of(entry, writer)), None)
    others = [entry for entry in before if entry is not mine]
    for entry in others:
        for path in (*found.changed, *found.removed):
            uproot(entry["fieldsV1"], path)
    mine = mine or Entry(writer, frozenset()).to_json()
    gone = [uproot(mine["fieldsV1"], path) for path in found.removed]
    come = [plant(mine["fieldsV1"], path) for path in found.changed]
    if any(gone) or any(come):
        mine["time"] = now
    entries = [entry for entry in (*others, mine) if entry["fieldsV1"]]
    if sum(entry["operation"] == UPDATE for entry in entries) <= MOST_UPDATERS:
        return entries
    return [entry.to_json() for entry in _bounded(_read(entries))]


def _is_of(entry: JsonObject, writer: Writer) -> bool:
    named = (entry["manager"], entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", ""))
    return named == (writer.manager, writer.operation, writer.api_version, writer.subresource)


def _bounded(entries: list[Entry]) -> list[Entry]:
    """The oldest updaters share one entry."""
    updaters = [entry for entry in entries if entry.writer.operation == UPDATE]
    updaters.sort(key=lambda entry: entry.time)
    merged = updaters[: len(updaters) - MOST_UPDATERS + 1]
    fields = frozenset[tuple[str, ...]]().union(*(entry.fields for entry in merged))
    first = Entry(Writer(ANCIENT, UPDATE, merged[0].writer.api_version), fields, merged[-1].time)
    return [first, *(entry for entry in entries if entry not in merged)]


def before_first_apply(kind: Kind, held: JsonObject) -> list[Entry]:
    writer = Writer(BEFORE, UPDATE, kind.api_version)
    return [Entry(writer, frozenset(leaves(held, shape_of(kind))), held["metadata"]["creationTimestamp"])]
