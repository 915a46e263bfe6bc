"""What a test gives to ``apply`` and ``delete``, as objects.

In: a path (a file or a directory), YAML or JSON text, a mapping, a Struct of ``stockade.model``, or several of them. Out: objects as the
API takes them. Called by ``space``. Raises StockadeError, with file:line:column where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from stockade.kube.resources import RESOURCES
from stockade.manifests import sources, yamlstream
from stockade.model.diagnostic import Diagnostic
from stockade.model.meta import View
from stockade.pytest.cluster import StockadeError

Given = str | Path | Mapping[str, Any] | View | Iterable[Any]
JsonObject = dict[str, Any]
TEXT = "<text>"
_KINDS: dict[type[View], tuple[str, str]] = {
    each.view: (each.api_version, each.kind) for each in RESOURCES.values()
}


def objects_of(given: Given) -> Iterator[JsonObject]:
    """A text with a line break, or one that begins with a brace, is YAML or JSON; any other is a path."""
    if isinstance(given, View):
        yield _of_view(given)
    elif isinstance(given, Mapping):
        yield from _items(dict(given), "this")
    elif isinstance(given, Path):
        yield from _of_path(given)
    elif isinstance(given, str):
        is_text = "\n" in given or given.lstrip().startswith("{")
        yield from _of_text(given, TEXT) if is_text else _of_path(Path(given))
    else:
        for each in given:
            yield from objects_of(each)


def _of_view(view: View) -> JsonObject:
    if type(view) not in _KINDS:
        raise StockadeError(f"a {type(view).__name__} is no object of the API")
    version, kind = _KINDS[type(view)]
    return {"apiVersion": version, "kind": kind, **msgspec.to_builtins(view)}


def _of_path(path: Path) -> Iterator[JsonObject]:
    for source in sources.read([str(path)], None):
        if isinstance(source, Diagnostic):
            raise StockadeError(str(source))
        yield from _of_text(source.text, source.name)


def _of_text(text: str, name: str) -> Iterator[JsonObject]:
    for document in yamlstream.read(text):
        if isinstance(document, yamlstream.YamlError):
            mark = document.mark
            raise StockadeError(f"{name}:{mark.line}:{mark.column}: {document.problem}")
        if document.value is not None:
            yield from _items(document.value, f"{name}:{document.mark.line}:{document.mark.column}")


def _items(value: Any, where: str) -> Iterator[JsonObject]:
    """A List is its items."""
    if not isinstance(value, dict):
        raise StockadeError(f"{where} is no object: it needs apiVersion, kind and metadata.name")
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _items(item, where)
    else:
        yield value
