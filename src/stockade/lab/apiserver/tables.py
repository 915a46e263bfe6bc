"""``kubectl get``: objects as a meta/v1 Table, which the server fills and kubectl only prints.

The columns of each kind are in ``printers``; they are those of kube-apiserver's printers, letter for letter. Columns of
priority 1 appear with ``-o wide`` only.
"""

from __future__ import annotations

from collections.abc import Sequence

from stockade.lab.apiserver.crd.versions import as_served
from stockade.lab.apiserver.failures import bad_request
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.printers import PRINTERS
from stockade.lab.apiserver.registry import JsonObject


def table_of(
    kind: Kind, objects: Sequence[JsonObject], version: str, include: str, *, columns: bool = True
) -> JsonObject:
    """``objects`` as they are stored; ``include`` is the ``includeObject`` parameter; a watch sends the column definitions only once."""
    printer = kind.custom.printer if kind.custom is not None else PRINTERS[kind.kind]
    rows = [] if _is_bookmark(objects) else [_row(kind, printer.row(obj), obj, include) for obj in objects]
    table: JsonObject = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [column.definition() for column in printer.columns] if columns else None,
        "rows": rows if rows or not _is_bookmark(objects) else [_bookmark_row(objects[0])],
    }
    return table


def _is_bookmark(objects: Sequence[JsonObject]) -> bool:
    return len(objects) == 1 and "name" not in objects[0]["metadata"]


def _bookmark_row(obj: JsonObject) -> JsonObject:
    """Without cells; the object carries the annotation that ends the initial events."""
    return {"cells": [], "object": partial(obj)}


def _row(kind: Kind, cells: list[object], obj: JsonObject, include: str) -> JsonObject:
    if include == "Metadata":
        return {"cells": cells, "object": partial(obj)}
    if include == "Object":
        return {"cells": cells, "object": as_served(kind, obj)}
    if include == "None":
        return {"cells": cells, "object": None}
    raise bad_request(f'includeObject: Invalid value: "{include}": must be "Object", "Metadata" or "None"')


def partial(obj: JsonObject) -> JsonObject:
    """The metadata alone, for rows and for clients that want no more."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
