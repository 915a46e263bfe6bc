"""What was found, before it has a line and column: diagnostics with the path of the node they are about.

In: diagnostics from ``manifests.diagnose``. Out: the same with positions. Called by ``manifests.load`` at the end, so that
every document is read for positions at most once, however much is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stockade.manifests.marks import Marks
from stockade.manifests.paths import Path, go_quoted
from stockade.manifests.yamlstream import Document
from stockade.model.diagnostic import Diagnostic, Position


def shown(text: str) -> str:
    return text if text.isprintable() else go_quoted(text)[1:-1]


class Place(msgspec.Struct, frozen=True):
    """An object within a document: ``path`` leads to it (List items), ``subject`` names it."""

    file: str
    document: Document
    path: Path = ()
    subject: str = ""

    def at(self, path: Path) -> Place:
        return msgspec.structs.replace(self, path=path)

    def about(self, raw: dict[str, Any]) -> Place:
        meta = raw.get("metadata")
        name = meta.get("name") if isinstance(meta, dict) else None
        return msgspec.structs.replace(
            self, subject=shown(f"{raw['kind']} {name}" if name else str(raw["kind"]))
        )

    def position(self) -> Position:
        """Where the object begins. For an item of a List this reads the document once more."""
        return self.given(self.document.marks([self.path]) if self.path else Marks(self.document.mark))

    def given(self, marks: Marks, path: Path = (), *, key: bool = False) -> Position:
        mark = marks.of((*self.path, *path), key=key) if self.path or path else self.document.mark
        return Position(self.file, mark.line, mark.column)

    def finding(
        self, diagnostic: Diagnostic, path: Path = (), *, key: bool = False, earlier: Place | None = None
    ) -> Finding:
        return Finding(diagnostic, self, path, key, earlier)


class Finding(msgspec.Struct, frozen=True):
    """A diagnostic that is about the node at ``path`` of an object, or about its key; ``positioned`` looks up where that is.

    ``earlier`` is another place that the message names."""

    diagnostic: Diagnostic
    place: Place | None = None
    path: Path = ()
    key: bool = False
    earlier: Place | None = None

    def asked(self) -> Iterator[tuple[Document, Path]]:
        if self.place:
            yield self.place.document, (*self.place.path, *self.path)
        if self.earlier:
            yield self.earlier.document, self.earlier.path


def positioned(findings: Sequence[Finding]) -> list[Diagnostic]:
    """Every document that something was found in is read once more, for all of its findings together."""
    documents: dict[int, tuple[Document, set[Path]]] = {}
    for finding in findings:
        for document, path in finding.asked():
            documents.setdefault(id(document), (document, set()))[1].add(path)
    marks = {
        at: document.marks(paths) if paths != {()} else Marks(document.mark)
        for at, (document, paths) in documents.items()
    }
    return [_positioned(finding, marks) for finding in findings]


def _positioned(finding: Finding, marks: dict[int, Marks]) -> Diagnostic:
    place, earlier, found = finding.place, finding.earlier, finding.diagnostic
    if place is None:
        return found
    position = place.given(marks[id(place.document)], finding.path, key=finding.key)
    message = found.message
    if earlier:
        message = message.format(earlier=earlier.given(marks[id(earlier.document)]))
    return msgspec.structs.replace(found, position=position, message=message)
