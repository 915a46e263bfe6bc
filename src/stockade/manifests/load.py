"""Files to objects: every valid object with its view, and every mistake with its place and a hint.

In: what stands behind ``-f`` (files, directories, ``-``). Out: ``Loaded``. Called by the command line's questions about files. A
document is read as the cluster would read it: kubectl's YAML, strict decoding, defaults, validation. One with an error is not among
the objects (a cluster would not store it), and all its errors are reported at once. Never raises for bad input.

    text -> yamlstream -> (List items) -> strict -> defaults -> validate -> view
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import msgspec

from stockade.manifests import diagnose, schema, sources, workloads, yamlstream
from stockade.manifests.defaults import apply_defaults
from stockade.manifests.diagnose import Place
from stockade.manifests.paths import Path
from stockade.manifests.strict import MAX_PROBLEMS, DecodeProblem, check_fields, drop_nulls, prune_unknown
from stockade.manifests.validate import FieldError, validate, warnings
from stockade.model.diagnostic import Diagnostic, Position, Severity
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
_CLUSTER_SCOPED = frozenset({"Namespace", "Node", "ClusterRole", "ClusterRoleBinding"})


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
    def has_errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.diagnostics)


def load(sources_: Sequence[str], stdin: TextIO | None = None, *, namespace: str = "default") -> Loaded:
    """``namespace`` is for objects that name none. Problems are diagnostics, never exceptions."""
    reader = _Reader(namespace)
    for source in sources.read(sources_, stdin):
        if isinstance(source, Diagnostic):
            reader.diagnostics.append(source)
        else:
            reader.source(source)
    return Loaded(tuple(reader.objects.values()), tuple(reader.diagnostics))


def load_text(text: str, name: str = sources.STDIN, *, namespace: str = "default") -> Loaded:
    """The same for a text at hand; ``name`` stands in the positions."""
    reader = _Reader(namespace)
    reader.source(sources.Source(name, text))
    return Loaded(tuple(reader.objects.values()), tuple(reader.diagnostics))


class _Reader:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.objects: dict[tuple[str, str, str, str], LoadedObject] = {}
        self.diagnostics: list[Diagnostic] = []

    def source(self, source: sources.Source) -> None:
        for document in yamlstream.read(source.text):
            if isinstance(document, yamlstream.YamlError):
                self.diagnostics.append(diagnose.syntax(document, source))
                continue
            place = Place(source.name, document)
            self.diagnostics += [diagnose.duplicate_key(path, place) for path in document.duplicates]
            for raw, path in _objects(document.value):
                self.object(raw, place.at(path))

    def object(self, raw: Any, place: Place) -> None:
        problem = diagnose.not_an_object(raw, place) or diagnose.unknown_kind(raw, place)
        if problem is not None:
            self.diagnostics.append(problem)
            return
        api_version, kind = str(raw["apiVersion"]), str(raw["kind"])
        place = place.about(raw)
        decode = check_fields(raw, api_version, kind)
        if (
            sum(not problem.unknown for problem in decode) >= MAX_PROBLEMS
        ):  # hardly a manifest; what follows needs every mistyped value gone
            self.diagnostics += [diagnose.decode(p, raw, place) for p in decode]
            return
        cleaned = _cleaned(raw, decode, api_version, kind)
        self._complete(cleaned, api_version, kind)
        errors = [error for error in validate(cleaned) if not _is_consequence(error, decode)]
        found = [diagnose.decode(p, raw, place) for p in decode]
        found += [diagnose.field(e, cleaned, place) for e in errors]
        self.diagnostics += [*found, *(diagnose.warning(text, place) for text in warnings(cleaned))]
        if not found:
            self._keep(cleaned, api_version, kind, place)

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
            self.diagnostics.append(diagnose.unreadable(str(error), place))
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
            self.diagnostics.append(diagnose.given_twice(earlier.position, place))
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
    cleaned = copy.deepcopy(raw)  # the document keeps its own
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
