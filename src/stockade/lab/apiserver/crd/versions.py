"""Objects in the version that was asked for: of a custom kind, where conversion strategy None changes apiVersion alone, and events.

In: what is stored. Out: the same as this version's clients see it; and back. Called by the handlers that read and write.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver import events_view
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject


def is_stored_form(kind: Kind) -> bool:
    return not kind.stored_as and (kind.custom is None or kind.custom.storage == kind.api_version)


def as_served(kind: Kind, obj: JsonObject) -> JsonObject:
    if kind.stored_as:
        return events_view.served(obj)
    return obj if is_stored_form(kind) else {**obj, "apiVersion": kind.api_version}


def as_stored(kind: Kind, obj: JsonObject) -> JsonObject:
    """A custom kind's apiVersion is the store's matter."""
    return events_view.stored(obj) if kind.stored_as else obj


def raw_as_served(kind: Kind, obj: JsonObject, raw: bytes) -> bytes:
    return raw if is_stored_form(kind) else msgspec.json.encode(as_served(kind, obj))
