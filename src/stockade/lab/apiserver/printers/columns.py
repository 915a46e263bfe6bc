"""Columns, printers, and the forms that several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.model.selectors import LabelSelector

NONE = "<none>"


class Column(msgspec.Struct, frozen=True):
    """``wide`` columns have priority 1."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def definition(self) -> JsonObject:
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" and not self.wide else self.format,
            "description": self.description,
            "priority": int(self.wide),
        }


class Printer(msgspec.Struct, frozen=True):
    """``row`` answers one cell per column."""

    columns: tuple[Column, ...]
    row: Callable[[JsonObject], list[object]]


def columns(plain: str, wide: str = "", numbers: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """From names separated by commas."""

    def typed(name: str) -> str:
        return "integer" if name in numbers else "string"

    named = [Column(name, typed(name)) for name in plain.split(",")]
    return (*named, *(Column(name, typed(name), wide=True) for name in filter(None, wide.split(","))))


def labels_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: JsonObject | None) -> str:
    """metav1.FormatLabelSelector: sorted by key."""
    view = msgspec.convert(selector or {}, LabelSelector)
    labels = [(key, f"{key}={value}") for key, value in (view.match_labels or {}).items()]
    labels += [(rule.key, str(rule)) for rule in view.match_expressions or []]
    return ",".join(text for _, text in sorted(labels)) or NONE


def containers_text(spec: JsonObject) -> tuple[str, str]:
    """Names and images, as in the wide columns of workloads."""
    containers = spec.get("containers") or []
    names = ",".join(container.get("name", "") for container in containers)
    return names, ",".join(container.get("image", "") for container in containers)
