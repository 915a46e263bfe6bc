"""Printer columns: the paths they may have and the cells they make."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.crd.columns import find, parse, printer

OBJECT = {
    "metadata": {"name": "g", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a.b/c": "x"}},
    "spec": {"ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53}], "on": True, "size": 3},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Done", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.size", [3]),
        (".spec.missing.deeper", []),
        (".spec.ports[0].name", ["http"]),
        (".spec.ports[-1].port", [53]),
        (".spec.ports[9].port", []),
        (".spec.ports[*].name", ["http", "dns"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type != 'Ready')].type", ["Done"]),
        (".spec.ports[?(@.port==80)].name", ["http"]),
        (r".metadata.labels.a\.b/c", ["x"]),
        (".metadata.labels['a.b/c']", ["x"]),
    ],
)
def test_paths(path, expected):
    assert find(OBJECT, parse(path)) == expected


@pytest.mark.parametrize("path", ["spec", "{.spec}", ".spec[", ".spec..size", ".spec[?(@.a>1)]"])
def test_paths_that_are_refused(path):
    with pytest.raises(ValueError, match="unrecognized JSONPath"):
        parse(path)


def column(sort, path, **more):
    return {"name": "X", "type": sort, "jsonPath": path, **more}


@pytest.mark.parametrize(
    ("given", "cell"),
    [
        (column("integer", ".spec.size"), 3),
        (column("integer", ".spec.on"), None),
        (column("string", ".spec.size"), "3"),
        (column("boolean", ".spec.on"), True),
        (column("string", ".spec.missing"), None),
        (column("string", ".spec.ports[*].port"), "80,53"),
        (column("string", ".spec.ports[0]"), '{"name":"http","port":80}'),
        (column("date", ".spec.size"), "<unknown>"),
    ],
)
def test_cells(given, cell):
    assert printer([given]).row(OBJECT) == ["g", cell]


def test_without_columns_there_is_the_age():
    made = printer([])
    assert [each.name for each in made.columns] == ["Name", "Age"]
    wide = printer([column("string", ".spec.size", priority=1, description="How large.")]).columns[1]
    assert (wide.definition()["priority"], wide.definition()["description"]) == (1, "How large.")
