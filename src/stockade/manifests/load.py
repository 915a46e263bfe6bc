"""Files to objects: every valid object with its view, and every mistake with its place and a hint.

In: what stands behind ``-f`` (files, directories, ``-``). Out: ``Loaded``. Called by the command line's questions about files. A
document is read as the cluster would read it: kubectl's YAML, strict decoding, defaults, validation. One with an error is not among
the objects (a cluster would not store it), and all its errors are reported at once. Never raises for bad input.

    text -> yamlstream -> (List items) -> strict -> defaults -> validate -> view
                                             └─► findings ─► positions, in one more reading of the documents concerned
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec

from stockade.manifests import diagnose, notes, schema, sources, workloads, yamlstream
from stockade.manifests.defaults import apply_defaults
from stockade.manifests.findings import Finding, Place, positioned
from stockade.manifests.fit import fits
from stockade.manifests.loaded import Loaded, LoadedObject
from stockade.manifests.paths import Path
from stockade.manifests.strict import MAX_PROBLEMS, DecodeProblem, check_fields, drop_nulls, prune_unknown
from stockade.manifests.validate import FieldError, validate, warnings
from stockade.manifests.validation import FieldValidation
from stockade.model.diagnostic import Diagnostic, Severity
from stockade.model.meta import View
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service

_VIEWS: dict[tuple[str, str], type[View]] = {
    ("networking.k8s.io/v1", "NetworkPolicy"): NetworkPolicy,
    ("v1", "Pod"): Pod,
    ("v1", "Namespace"): Namespace,
    ("v1", "Node"): Node,
    ("v1", "Service"): Service,
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSlice,
}
MAX_FINDINGS = 10_000
_CLUSTER_SCOPED = frozenset(
    {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
)


def load(
    sources_: Sequence[str],
    stdin: TextIO | None = None,
    *,
    namespace: str = "default",
    validation: FieldValidation = FieldValidation.STRICT,
) -> Loaded:
    """``namespace`` is for objects that name none. Problems are diagnostics, never exceptions."""
    reader = _Reader(namespace, validation)
    with _without_collection():
        for source in sources.read(sources_, stdin):
            if isinstance(source, Diagnostic):
                reader.found([Finding(source)])
            else:
                reader.source(source)
        return reader.loaded()


def load_text(
    text: str,
    name: str = sources.STDIN,
    *,
    namespace: str = "default",
    validation: FieldValidation = FieldValidation.STRICT,
) -> Loaded:
    """The same for a text at hand; ``name`` stands in the positions."""
    reader = _Reader(namespace, validation)
    reader.source(sources.Source(name, text))
    return reader.loaded()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Reading makes millions of objects and no cycles; looking for cycles all the while takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Reader:
    def __init__(self, namespace: str, validation: FieldValidation) -> None:
        self.namespace = namespace
        self.validation = validation
        self.objects: dict[tuple[str, str, str, str], LoadedObject] = {}
        self.findings: list[Finding] = []
        self.unlisted: Counter[Severity] = Counter()
        self.seen = 0  # documents and items that might be objects

    def loaded(self) -> Loaded:
        objects = tuple(self.objects.values())
        self.found(notes.about(objects))
        diagnostics = positioned(self.findings)
        if self.unlisted:
            diagnostics.append(diagnose.not_listed(self.unlisted))
        return Loaded(objects, tuple(diagnostics))

    def found(self, findings: Iterable[Finding | None]) -> None:
        for finding in findings:
            if finding is None:
                continue
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)
            else:
                self.unlisted[finding.diagnostic.severity] += 1

    def source(self, source: sources.Source) -> None:
        if source.damage:
            self.found([Finding(diagnose.not_text(source.damage))])
        before = self.seen
        for document in yamlstream.read(source.text):
            if isinstance(document, yamlstream.YamlError):
                self.seen += 1
                self.found([Finding(diagnose.syntax(document, source.name))])
                continue
            value, document.value = document.value, None  # the objects keep what is theirs
            place = Place(source.name, document)
            if self.validation is not FieldValidation.IGNORE:
                self.found(diagnose.duplicate_key(path, place) for path in document.duplicates)
            if value is not None:
                for raw, path in _objects(value):
                    self.object(raw, place.at(path))
            if document.ignored:
                self.found([Finding(diagnose.ignored(document.ignored, source.name))])
        if self.seen == before:
            self.found([Finding(diagnose.nothing_in(source.name))])

    def object(self, raw: Any, place: Place) -> None:
        self.seen += 1
        problem = diagnose.not_an_object(raw, place) or diagnose.unknown_kind(raw, place)
        if problem is not None:
            self.found([problem])
            return
        if diagnose.is_tool_file(raw):
            self.found([diagnose.tool_file(raw, place)])
            return
        api_version, kind = str(raw["apiVersion"]), str(raw["kind"])
        place = place.about(raw)
        if fits(raw, api_version, kind):
            self._judge(raw, [], api_version, kind, place)
            return
        decode = check_fields(raw, api_version, kind)
        self.found(
            diagnose.decode(problem, raw, place, self.validation)
            for problem in decode
            if not problem.unknown or self.validation is not FieldValidation.IGNORE
        )
        # Beyond the limit it is hardly a manifest; what follows needs every mistyped value gone.
        if sum(not problem.unknown for problem in decode) < MAX_PROBLEMS:
            strict = self.validation is FieldValidation.STRICT
            fatal = [problem for problem in decode if strict or not problem.unknown]
            self._judge(_cleaned(raw, decode, api_version, kind), fatal, api_version, kind, place)

    def _judge(
        self, raw: dict[str, Any], decode: list[DecodeProblem], api_version: str, kind: str, place: Place
    ) -> None:
        self._complete(raw, api_version, kind)
        errors = [error for error in validate(raw) if not _is_consequence(error, decode)]
        self.found(diagnose.field(error, raw, place) for error in errors)
        self.found(diagnose.warning(text, place) for text in warnings(raw))
        if not decode and not errors:
            self.found(diagnose.inert_rules(raw, place))
            self._keep(raw, api_version, kind, place)

    def _complete(self, raw: dict[str, Any], api_version: str, kind: str) -> None:
        apply_defaults(raw)
        meta = raw.get("metadata")
        if not isinstance(meta, dict):
            meta = raw["metadata"] = {}
        if schema.type_of(api_version, kind) and kind not in _CLUSTER_SCOPED and not meta.get("namespace"):
            meta["namespace"] = self.namespace

    def _keep(self, raw: dict[str, Any], api_version: str, kind: str, place: Place) -> None:
        meta = raw["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}00000"  # the server would choose five characters
        try:
            view = _view(raw, api_version, kind)
        except msgspec.ValidationError as error:  # a kind without a table of fields, yet with a view
            self.found([diagnose.unreadable(str(error), place)])
            return
        loaded = LoadedObject(
            api_version=api_version,
            kind=kind,
            raw=raw,
            view=view,
            place=place,
            is_representative=workloads.is_workload(api_version, kind),
        )
        earlier = self.objects.pop(loaded.key, None)
        if earlier is not None:
            self.found([diagnose.given_twice(earlier.place, place)])
        self.objects[loaded.key] = loaded


def _objects(value: Any) -> Iterator[tuple[Any, Path]]:
    """The document itself, or the items of a List, also of lists in lists."""
    kind = value.get("kind") if isinstance(value, dict) else None
    items = value.get("items") if isinstance(value, dict) else None
    is_list = kind == "List" or (isinstance(kind, str) and kind.endswith("List") and "items" in value)
    if not is_list or not isinstance(items, list | None):
        yield value, ()
        return
    for index, item in enumerate(items or []):
        for inner, path in _objects(_typed(item, value, str(kind))):
            yield inner, ("items", index, *path)


def _typed(item: Any, outer: dict[str, Any], kind: str) -> Any:
    """Items of a typed list (PodList) need not repeat apiVersion and kind."""
    if kind == "List" or not isinstance(item, dict):
        return item
    return {"apiVersion": outer.get("apiVersion"), "kind": kind.removesuffix("List"), **item}


def _cleaned(
    raw: dict[str, Any], problems: list[DecodeProblem], api_version: str, kind: str
) -> dict[str, Any]:
    """A copy that can be validated: unknown fields gone, values of the wrong type null."""
    cleaned: dict[str, Any] = yamlstream.copied(raw)  # the findings speak of what was written
    for problem in problems:
        if not problem.unknown:
            parent: Any = cleaned
            for step in problem.path[:-1]:
                parent = parent[step]
            parent[problem.path[-1]] = None
    if problems:
        prune_unknown(cleaned, api_version, kind)
    drop_nulls(cleaned, api_version, kind)
    return cleaned


def _is_consequence(error: FieldError, problems: list[DecodeProblem]) -> bool:
    """True when the value that is missing or wrong was already reported as mistyped or misspelt."""
    for problem in problems:
        reported = (
            problem.path[:-1] if problem.unknown and error.type.value.endswith("Required") else problem.path
        )
        shorter = min(len(reported), len(error.path))
        if reported[:shorter] == error.path[:shorter] and (len(reported) >= len(error.path) - 1):
            return True
    return False


def _view(raw: dict[str, Any], api_version: str, kind: str) -> View | None:
    if workloads.is_workload(api_version, kind):
        return workloads.representative(raw)
    model = _VIEWS.get((api_version, kind))
    return msgspec.convert(raw, model) if model else None
