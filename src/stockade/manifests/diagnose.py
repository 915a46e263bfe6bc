"""Diagnostics for manifests: where it is, what is wrong, what to write instead. Made here, called by ``manifests.load``.

Codes: syntax-error, unreadable-file, no-manifests, not-an-object, unknown-kind, unknown-field, wrong-type, invalid-value, unsupported-value,
required-value, forbidden-value, duplicate-value, value-too-long, not-found; as warnings: duplicate-key, duplicate-object, ambiguous-value.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.manifests import hints, schema
from stockade.manifests.paths import Path, dotted, go_quoted, value_at
from stockade.manifests.sources import Source
from stockade.manifests.strict import DecodeProblem
from stockade.manifests.validate import ErrorType, FieldError
from stockade.manifests.yamlstream import Document, YamlError
from stockade.model.diagnostic import Diagnostic, Position, Severity

_CODES = {
    ErrorType.NOT_SUPPORTED: "unsupported-value",
    ErrorType.REQUIRED: "required-value",
    ErrorType.FORBIDDEN: "forbidden-value",
    ErrorType.DUPLICATE: "duplicate-value",
    ErrorType.TOO_LONG: "value-too-long",
    ErrorType.NOT_FOUND: "not-found",
}
# Kinds that Kubernetes once served under another apiVersion.
_RETIRED = (
    "extensions/",
    "apps/v1beta",
    "networking.k8s.io/v1beta",
    "batch/v1beta",
    "batch/v2alpha",
    "discovery.k8s.io/v1beta",
)


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
            self, subject=_shown(f"{raw['kind']} {name}" if name else str(raw["kind"]))
        )

    def position(self, path: Path = (), *, key: bool = False) -> Position:
        """The document is read once more, with positions; the object's own start is known without."""
        if not path and not self.path:
            mark = self.document.mark
        else:
            mark = self.document.marks().of((*self.path, *path), key=key)
        return Position(self.file, mark.line, mark.column)


def syntax(error: YamlError, source: Source) -> Diagnostic:
    lines = source.text.split("\n")
    line = lines[error.mark.line - 1] if error.mark.line <= len(lines) else ""
    hint = ""
    if "{{" in line:
        hint = "this is a template: render it first (helm template) and give the result"
    elif "\t" in line[: len(line) - len(line.lstrip())] or "cannot start any token" in error.problem:
        hint = "indent with blanks, not with tabs"
    elif "mapping values are not allowed" in error.problem:
        hint = "check the indentation, and put text that has a colon in quotes"
    where = Position(source.name, error.mark.line, error.mark.column)
    return Diagnostic(code="syntax-error", message=f"YAML: {error.problem}", position=where, hint=hint)


def duplicate_key(path: Path, place: Place) -> Diagnostic:
    return Diagnostic(
        code="duplicate-key",
        message="this key stands twice; the cluster reads the last one",
        severity=Severity.WARNING,
        path=dotted(path),
        position=place.position(path, key=True),
        hint="keep one of them",
    )


def not_an_object(raw: Any, place: Place) -> Diagnostic | None:
    """A Kubernetes object is a mapping with apiVersion and kind."""
    if not isinstance(raw, dict):
        message = "not a Kubernetes object: a mapping with apiVersion and kind is wanted"
        return Diagnostic(code="not-an-object", message=message, position=place.position())
    for key, example in (("apiVersion", "networking.k8s.io/v1"), ("kind", "NetworkPolicy")):
        if not isinstance(raw.get(key), str) or not raw[key]:
            state = "is not a string" if raw.get(key) else "is missing"
            return Diagnostic(
                code="not-an-object",
                message=f"{key} {state}: not a Kubernetes object",
                path=key,
                position=place.position((key,)),
                hint=f"for example {key}: {example}",
            )
    if raw["kind"] == "List":  # one with items was taken apart already
        message, where = "items must be a list of objects", place.position(("items",))
        return Diagnostic(code="not-an-object", message=message, path="items", position=where)
    return None


def unknown_kind(raw: dict[str, Any], place: Place) -> Diagnostic | None:
    """A kind of Kubernetes' own that does not exist under this apiVersion; kinds of other groups pass (CRDs)."""
    api_version, kind = raw["apiVersion"], raw["kind"]
    if schema.type_of(api_version, kind):
        return None
    homes = [version for version, known in schema.kinds() if known == kind]
    here = [known for version, known in schema.kinds() if version == api_version]
    if homes and (here or api_version.startswith(_RETIRED)):
        hint, path = f"write apiVersion: {homes[0]}", "apiVersion"
    elif nearest := hints.kind_hint(kind, here):
        hint, path = nearest, "kind"
    else:
        return None
    return Diagnostic(
        code="unknown-kind",
        message=f"no kind {go_quoted(kind)} in version {go_quoted(api_version)}",
        path=path,
        position=place.position((path,)),
        hint=hint,
    )


def decode(problem: DecodeProblem, raw: dict[str, Any], place: Place) -> Diagnostic:
    code, message = "unknown-field", f"unknown field {go_quoted(str(problem.path[-1]))}"
    if not problem.unknown:
        value = value_at(raw, problem.path)
        code, message = "wrong-type", hints.wrong_type(value, problem.expected)
    return Diagnostic(
        code=code,
        message=message,
        path=dotted(problem.path),
        object=place.subject,
        position=place.position(problem.path, key=problem.unknown),
        hint=hints.for_decode(problem, raw, raw["apiVersion"], raw["kind"]),
    )


def field(error: FieldError, raw: dict[str, Any], place: Place) -> Diagnostic:
    return Diagnostic(
        code=_CODES.get(error.type, "invalid-value"),
        message=error.body,
        path=error.field,
        object=place.subject,
        position=_field_position(error, raw, place),
        hint=hints.for_field(error, raw),
    )


def _field_position(error: FieldError, raw: dict[str, Any], place: Place) -> Position:
    """Errors about labels name the map; the entry itself is found by its key or value."""
    value = value_at(raw, error.path)
    if isinstance(value, dict) and isinstance(error.value, str):
        if error.value in value:
            return place.position((*error.path, error.value), key=True)
        key = next((key for key, item in value.items() if item == error.value), None)
        if key is not None:
            return place.position((*error.path, key))
    return place.position(error.path)


def warning(text: str, place: Place) -> Diagnostic:
    """The server's own warnings: ``<field>: <text>``."""
    path, _, message = text.partition(": ")
    return Diagnostic(
        code="ambiguous-value",
        message=message,
        severity=Severity.WARNING,
        path=path,
        object=place.subject,
        position=place.position(_parsed(path)),
    )


def unreadable(reason: str, place: Place) -> Diagnostic:
    return Diagnostic(code="wrong-type", message=reason, object=place.subject, position=place.position())


def given_twice(earlier: Position, place: Place) -> Diagnostic:
    return Diagnostic(
        code="duplicate-object",
        message=f"given before, at {earlier}; the last one counts",
        severity=Severity.WARNING,
        object=place.subject,
        position=place.position(),
        hint="keep one of them, or rename it",
    )


def _shown(text: str) -> str:
    return text if text.isprintable() else go_quoted(text)[1:-1]


def _parsed(path: str) -> Path:
    """``spec.egress[0].to`` as steps; these paths are made of plain field names."""
    steps: list[str | int] = []
    for part in path.split("."):
        name, *indexes = part.split("[")
        steps += [name, *(int(index.rstrip("]")) for index in indexes)]
    return tuple(steps)
