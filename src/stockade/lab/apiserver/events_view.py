"""Events in the words of group events.k8s.io; what is stored is the Event of the core group, and both are served.

In: an Event in one form. Out: the same in the other. Called through ``crd.versions`` by the handlers, and by ``selectors`` for the names of fields. Rules: the
conversions of k8s.io/api events/v1 (KEP-383).
"""

from __future__ import annotations

from stockade.lab.apiserver.registry import JsonObject

CORE, EVENTS = "v1", "events.k8s.io/v1"
EVENTS_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
CORE_NAMES = {theirs: core for core, theirs in EVENTS_NAMES.items()}


def served(event: JsonObject) -> JsonObject:
    return {**_renamed(event, EVENTS_NAMES), "apiVersion": EVENTS}


def stored(event: JsonObject) -> JsonObject:
    return {**_renamed(event, CORE_NAMES), "apiVersion": CORE}


def _renamed(event: JsonObject, names: dict[str, str]) -> JsonObject:
    return {names.get(key, key): value for key, value in event.items()}


def core_field(name: str) -> str:
    """``regarding.uid`` → ``involvedObject.uid``."""
    first, dot, rest = name.partition(".")
    return CORE_NAMES.get(first, first) + dot + rest
