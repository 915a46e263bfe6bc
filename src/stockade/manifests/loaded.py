"""What ``manifests.load`` gives: the valid objects in order, and the diagnostics."""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.manifests.findings import Place
from stockade.model.diagnostic import Diagnostic, Position, Severity
from stockade.model.meta import View


class LoadedObject(msgspec.Struct, frozen=True, kw_only=True):
    """``raw`` has the API's defaults applied and its namespace filled in. ``view`` is what decisions read; None for kinds they
    do not need. For a workload it is one representative pod, and ``is_representative`` says so."""

    api_version: str
    kind: str
    raw: dict[str, Any]
    view: View | None
    place: Place
    is_representative: bool = False

    @property
    def position(self) -> Position:
        """Where it begins; for an item of a List this reads the document once more, then remembers."""
        return self.place.position()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """API group, kind, namespace, name: the identity on a cluster."""
        meta = self.raw.get("metadata") or {}
        group = self.api_version.rpartition("/")[0]
        return group, self.kind, meta.get("namespace") or "", meta.get("name") or ""


class Loaded(msgspec.Struct, frozen=True):
    """In the order of the files. An object given twice keeps its last form, with a warning."""

    objects: tuple[LoadedObject, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def is_empty(self) -> bool:
        """There was nothing to read, and no error either that would say why."""
        return not self.objects and not self.has_errors

    @property
    def has_errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.diagnostics)
