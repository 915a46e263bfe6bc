"""Events (printEvent): wide columns stand between the others."""

from __future__ import annotations

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import Column, Printer
from stockade.lab.apiserver.registry import JsonObject

COLUMNS = (
    Column("Last Seen"),
    Column("Type"),
    Column("Reason"),
    Column("Object"),
    Column("Subobject", wide=True),
    Column("Source", wide=True),
    Column("Message"),
    Column("First Seen", wide=True),
    Column("Count", wide=True),
    Column("Name", wide=True),
)


def _row(event: JsonObject) -> list[object]:
    metadata, about, series = event["metadata"], event.get("involvedObject") or {}, event.get("series") or {}
    occurred = event.get("eventTime") or metadata.get("creationTimestamp")
    first = event.get("firstTimestamp") or occurred
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or first
    return [
        age_of(last),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about['kind'].lower()}/{about.get('name', '')}" if about.get("kind") else about.get("name", ""),
        about.get("fieldPath", ""),
        _source(event),
        (event.get("message") or "").strip(),
        age_of(first),
        series.get("count") or event.get("count") or 1,
        metadata["name"],
    ]


def _source(event: JsonObject) -> str:
    source = event.get("source") or {}
    parts = (
        source.get("component") or event.get("reportingComponent"),
        source.get("host") or event.get("reportingInstance"),
    )
    return ", ".join(filter(None, parts))


EVENT = Printer(COLUMNS, _row)
