"""``additionalPrinterColumns``: the cells of a custom kind's table.

In: the columns of a version; objects. Out: a ``Printer``. Called by ``definition``. Rules: apiextensions' TableConvertor and the JSONPath
subset of columns (fields, quoted fields, indexes, ``*``, filters by equality); without columns there is Age alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import Column, Printer
from stockade.lab.apiserver.registry import JsonObject

AGE: JsonObject = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
TYPES = ("integer", "number", "string", "boolean", "date")
_STEP = re.compile(
    r"""\.(?P<name>(?:[^.\[\]\\'"]|\\.)+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<every>\*)\]
      | \['(?P<quoted>(?:[^'\\]|\\.)*)'\]
      | \[\?\(\s*@(?P<field>(?:\.[^.\[\]\s=!]+)+)\s*(?P<sign>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]""",
    re.VERBOSE,
)


class Step(msgspec.Struct, frozen=True):
    """One of: a field's ``name``; an ``index``; every item (neither); items whose ``where`` field has (or has not) a value."""

    name: str | None = None
    index: int | None = None
    where: tuple[str, ...] = ()
    value: Any = None
    equal: bool = True


def parse(path: str) -> tuple[Step, ...]:
    """Raises ValueError."""
    steps, at = [], 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f"unrecognized JSONPath at {path[at:]!r}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        name = re.sub(r"\\(.)", r"\1", match["name"])
        return Step() if name == "*" else Step(name=name)
    if match["quoted"] is not None:
        return Step(name=re.sub(r"\\(.)", r"\1", match["quoted"]))
    if match["index"] is not None:
        return Step(index=int(match["index"]))
    if match["every"]:
        return Step()
    text = match["value"]
    value = text[1:-1] if text[0] in "'\"" else json.loads(text) if _is_json(text) else text
    return Step(where=tuple(match["field"][1:].split(".")), value=value, equal=match["sign"] == "==")


def _is_json(text: str) -> bool:
    return re.fullmatch(r"true|false|null|-?\d+(\.\d+)?", text) is not None


def find(obj: Any, steps: Sequence[Step]) -> list[Any]:
    found = [obj]
    for step in steps:
        found = [inner for value in found for inner in _apply(step, value)]
    return found


def _apply(step: Step, value: Any) -> list[Any]:
    if step.name is not None:
        return [value[step.name]] if isinstance(value, dict) and step.name in value else []
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if step.index is not None:
        return [items[step.index]] if -len(items) <= step.index < len(items) else []
    if not step.where:
        return items
    named = [Step(name=name) for name in step.where]
    return [item for item in items if (find(item, named)[:1] == [step.value]) is step.equal]


def printer(columns: Sequence[JsonObject]) -> Printer:
    given = [*columns] or [AGE]
    paths = [(column, parse(column["jsonPath"])) for column in given]

    def row(obj: JsonObject) -> list[object]:
        return [obj["metadata"]["name"], *(_cell(obj, column, steps) for column, steps in paths)]

    described = [
        Column(
            column["name"],
            column["type"],
            int(column.get("priority") or 0) > 0,
            format=column.get("format") or "",
            description=column.get("description") or "",
        )
        for column in given
    ]
    return Printer((Column("Name"), *described), row)


def _cell(obj: JsonObject, column: JsonObject, steps: Sequence[Step]) -> object:
    """The first that the path finds, in the type of the column; several as text."""
    found = find(obj, steps)
    if not found or found[0] is None:
        return None
    value = found[0]
    match column["type"]:
        case "date":
            return age_of(value) if isinstance(value, str) else "<unknown>"
        case "integer":
            return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return ",".join(_text(each) for each in found) if len(found) > 1 else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
