"""Diagnostics for manifests: where it is, what is wrong, what to write instead. Made here, called by ``manifests.load``.

Every code stands in docs/manifests.md; so do those of ``manifests.sources`` and ``manifests.notes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stockade.manifests import hints, schema
from stockade.manifests.findings import Finding, Place, shown
from stockade.manifests.marks import Mark
from stockade.manifests.paths import Path, dotted, go_quoted, value_at
from stockade.manifests.strict import DecodeProblem
from stockade.manifests.validate import ErrorType, FieldError
from stockade.manifests.validation import FieldValidation
from stockade.manifests.yamlstream import YamlError
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

# Files that look like objects and stand among them.
_TOOLS = (
    "kustomize.config.k8s.io/",
    "kubeadm.k8s.io/",
    "kubelet.config.k8s.io/",
    "kind.x-k8s.io/",
    "skaffold/",
    "audit.k8s.io/",
)
# Kinds of the groups whose fields we know that are served and of no interest here.
_SERVED = {
    "v1": {"ComponentStatus", "LimitRange", "PersistentVolume", "ResourceQuota"},
    "networking.k8s.io/v1": {"IPAddress", "Ingress", "IngressClass", "ServiceCIDR"},
}

_COMPLETE = frozenset({"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1"})


def syntax(error: YamlError, file: str) -> Diagnostic:
    return Diagnostic(
        code="syntax-error",
        message=f"YAML: {error.problem}",
        position=Position(file, error.mark.line, error.mark.column),
        hint=hints.for_syntax(error.problem, error.line),
    )


def not_text(where: Position) -> Diagnostic:
    return Diagnostic(
        code="not-utf8",
        message="not UTF-8 text; the cluster reads a replacement character (U+FFFD) here",
        severity=Severity.WARNING,
        position=where,
        hint="save the file as UTF-8",
    )


def ignored(mark: Mark, file: str) -> Diagnostic:
    return Diagnostic(
        code="ignored-content",
        message="kubectl does not read what follows here: of each part between --- lines it reads the first document",
        severity=Severity.WARNING,
        position=Position(file, mark.line, mark.column),
        hint="put a line --- before it",
    )


def nothing_in(file: str) -> Diagnostic:
    return Diagnostic(
        code="no-objects", message="no objects", severity=Severity.WARNING, position=Position(file, 1, 1)
    )


def not_listed(counts: Counter[Severity]) -> Diagnostic:
    listed = ", ".join(f"{count} more {severity.value}s" for severity, count in sorted(counts.items()))
    worst = Severity.ERROR if counts[Severity.ERROR] else Severity.NOTE
    return Diagnostic(code="too-many", message=f"not listed: {listed}", severity=worst)


def duplicate_key(path: Path, place: Place) -> Finding:
    found = Diagnostic(
        code="duplicate-key",
        message="this key stands twice; the cluster reads the last one",
        severity=Severity.WARNING,
        path=dotted(path),
        hint="keep one of them",
    )
    return place.finding(found, path, key=True)


def not_an_object(raw: Any, place: Place) -> Finding | None:
    """A Kubernetes object is a mapping with apiVersion and kind."""
    if not isinstance(raw, dict):
        message = "not a Kubernetes object: a mapping with apiVersion and kind is wanted"
        return place.finding(Diagnostic(code="not-an-object", message=message))
    for key, example in (("apiVersion", "networking.k8s.io/v1"), ("kind", "NetworkPolicy")):
        if not isinstance(raw.get(key), str) or not raw[key]:
            state = "is not a string" if raw.get(key) else "is missing"
            found = Diagnostic(
                code="not-an-object",
                message=f"{key} {state}: not a Kubernetes object",
                path=key,
                hint=f"for example {key}: {example}",
            )
            return place.finding(found, (key,))
    if raw["kind"] == "List":  # one with items was taken apart already
        found = Diagnostic(code="not-an-object", message="items must be a list of objects", path="items")
        return place.finding(found, ("items",))
    return None


def unknown_kind(raw: dict[str, Any], place: Place) -> Finding | None:
    """A kind of Kubernetes' own that does not exist under this apiVersion; kinds of other groups pass (CRDs)."""
    api_version, kind = raw["apiVersion"], raw["kind"]
    if schema.type_of(api_version, kind) or kind in _SERVED.get(api_version, ()):
        return None
    homes = [version for version, known in schema.kinds() if known == kind]
    here = [known for version, known in schema.kinds() if version == api_version]
    if homes and (here or api_version.startswith(_RETIRED)):
        hint, path = f"write apiVersion: {homes[0]}", "apiVersion"
    elif (nearest := hints.kind_hint(kind, here)) or api_version in _COMPLETE:
        hint, path = nearest, "kind"
    else:
        return None
    found = Diagnostic(
        code="unknown-kind",
        message=f"no kind {go_quoted(kind)} in version {go_quoted(api_version)}",
        path=path,
        hint=hint,
    )
    return place.finding(found, (path,))


def is_tool_file(raw: dict[str, Any]) -> bool:
    return bool(raw["apiVersion"].startswith(_TOOLS))


def tool_file(raw: dict[str, Any], place: Place) -> Finding:
    message = f"{shown(raw['kind'])}: a file for a tool, not an object of a cluster: not read"
    hint = "give what the tool makes of it (kustomize build)" if "kustomize" in raw["apiVersion"] else ""
    return place.finding(Diagnostic(code="tool-file", message=message, severity=Severity.NOTE, hint=hint))


def decode(
    problem: DecodeProblem,
    raw: dict[str, Any],
    place: Place,
    validation: FieldValidation = FieldValidation.STRICT,
) -> Finding:
    """A mistyped value is an error whatever ``validation`` says, as on the server."""
    is_error = validation is FieldValidation.STRICT or not problem.unknown
    code, message = "unknown-field", f"unknown field {go_quoted(str(problem.path[-1]))}"
    if not problem.unknown:
        value = value_at(raw, problem.path)
        code, message = "wrong-type", hints.wrong_type(value, problem.expected)
    found = Diagnostic(
        code=code,
        message=message if is_error else f"{message}: dropped",
        severity=Severity.ERROR if is_error else Severity.WARNING,
        path=dotted(problem.path),
        object=place.subject,
        hint=hints.for_decode(problem, raw, raw["apiVersion"], raw["kind"]),
    )
    return place.finding(found, problem.path, key=problem.unknown)


def field(error: FieldError, raw: dict[str, Any], place: Place) -> Finding:
    found = Diagnostic(
        code=_CODES.get(error.type, "invalid-value"),
        message=error.body,
        path=error.field,
        object=place.subject,
        hint=hints.for_field(error, raw),
    )
    path, key = _entry(error, raw)
    return place.finding(found, path, key=key)


def _entry(error: FieldError, raw: dict[str, Any]) -> tuple[Path, bool]:
    """Errors about labels name the map; the entry itself is found by its key or value."""
    value = value_at(raw, error.path)
    if isinstance(value, dict) and isinstance(error.value, str):
        if error.value in value:
            return (*error.path, error.value), True
        key = next((key for key, item in value.items() if item == error.value), None)
        if key is not None:
            return (*error.path, key), False
    return error.path, False


def warning(text: str, place: Place) -> Finding:
    """The server's own warnings: ``<field>: <text>``."""
    path, _, message = text.partition(": ")
    found = Diagnostic(
        code="ambiguous-value",
        message=message,
        severity=Severity.WARNING,
        path=path,
        object=place.subject,
    )
    return place.finding(found, _parsed(path))


def inert_rules(raw: dict[str, Any], place: Place) -> Iterator[Finding]:
    """The server stores them; they do nothing, which is hardly what was meant."""
    if (raw["apiVersion"], raw["kind"]) != ("networking.k8s.io/v1", "NetworkPolicy"):
        return
    spec = raw.get("spec") or {}
    types = spec.get("policyTypes") or ()
    for direction, kind in (("ingress", "Ingress"), ("egress", "Egress")):
        if spec.get(direction) and kind not in types:
            found = Diagnostic(
                code="inert-rules",
                message=f"these rules have no effect: policyTypes does not list {kind}",
                severity=Severity.WARNING,
                path=f"spec.{direction}",
                object=place.subject,
                hint=f"add {kind} to policyTypes, or remove the rules",
            )
            yield place.finding(found, ("spec", direction), key=True)


def unreadable(reason: str, place: Place) -> Finding:
    return place.finding(Diagnostic(code="wrong-type", message=reason, object=place.subject))


def given_twice(earlier: Place, place: Place) -> Finding:
    found = Diagnostic(
        code="duplicate-object",
        message="given before, at {earlier}; the last one counts",
        severity=Severity.WARNING,
        object=place.subject,
        hint="keep one of them, or rename it",
    )
    return place.finding(found, earlier=earlier)


def _parsed(path: str) -> Path:
    """``spec.egress[0].to`` as steps; these paths are made of plain field names."""
    steps: list[str | int] = []
    for part in path.split("."):
        name, *indexes = part.split("[")
        steps += [name, *(int(index.rstrip("]")) for index in indexes)]
    return tuple(steps)
