"""``metadata.managedFields``: who set which field, for every write (KEP-555).

    POST, PUT, PATCH   the writer owns what it changed, nobody any longer what it removed; nothing conflicts      ``updated``
    apply              ``apply`` decides; its entries come from here, too

In: the object before and after; the entries before; the writer. Out: the entries after. Called by the handlers that write, through the store,
when defaults are in. The lab's own parts (controllers, kubelet) write without entries; what is older than the first apply is then
owned by ``before-first-apply``.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from stockade.lab.apiserver.fieldsets import Fields, leaves, parse, tree
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.shapes import shape_of

UPDATE, APPLY = "Update", "Apply"
LONGEST_NAME, MOST_UPDATERS = 128, 10
ANCIENT, BEFORE = "ancient-changes", "before-first-apply"
_MISSING = object()


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
    found = []
    for given in obj.get("metadata", {}).get("managedFields") or []:
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


def updated(
    kind: Kind, old: JsonObject | None, new: JsonObject, before: list[Entry], writer: Writer, now: str
) -> list[Entry]:
    """``old`` None: the object is new."""
    shape = shape_of(kind)
    was, becomes = leaves(old or {}, shape), leaves(new, shape)
    changed = frozenset(p for p, value in becomes.items() if was.get(p, _MISSING) != value)
    removed = frozenset(path for path in was if path not in becomes)
    if not changed and not removed:
        return before
    own = next((entry for entry in before if entry.same_writer(writer)), Entry(writer, frozenset()))
    others = [
        _with(entry, entry.fields - changed - removed, entry.time)
        for entry in before
        if not entry.same_writer(writer)
    ]
    mine = _with(own, (own.fields | changed) - removed, now)
    return _bounded([entry for entry in (*others, mine) if entry.fields])


def _with(entry: Entry, fields: Fields, time: str) -> Entry:
    return entry if fields == entry.fields else Entry(entry.writer, fields, time)


def _bounded(entries: list[Entry]) -> list[Entry]:
    """The oldest updaters share one entry when there are too many."""
    updaters = [entry for entry in entries if entry.writer.operation == UPDATE]
    if len(updaters) <= MOST_UPDATERS:
        return entries
    updaters.sort(key=lambda entry: entry.time)
    merged = updaters[: len(updaters) - MOST_UPDATERS + 1]
    fields = frozenset[tuple[str, ...]]().union(*(entry.fields for entry in merged))
    first = Entry(Writer(ANCIENT, UPDATE, merged[0].writer.api_version), fields, merged[-1].time)
    return [first, *(entry for entry in entries if entry not in merged)]


def before_first_apply(kind: Kind, held: JsonObject) -> list[Entry]:
    writer = Writer(BEFORE, UPDATE, kind.api_version)
    return [Entry(writer, frozenset(leaves(held, shape_of(kind))), held["metadata"]["creationTimestamp"])]
