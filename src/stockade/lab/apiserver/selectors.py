"""``labelSelector`` and ``fieldSelector`` query parameters.

Grammar and supported fields: ``labelquery``, apimachinery's ``fields.ParseSelector``, and the field label conversions
of each kind. Called by list, watch and deletecollection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from stockade.lab.apiserver import events_view, labelquery
from stockade.lab.apiserver.failures import bad_request
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.labelquery import Requirement
from stockade.lab.apiserver.registry import JsonObject

_TERM = re.compile(r"((?:[^!=\\]|\\.)+?)(!=|==|=)((?:[^\\]|\\.)*)", re.DOTALL)
_COMMA = re.compile(r"((?:[^,\\]|\\.)*)(?:,|$)", re.DOTALL)

COMMON_FIELDS = ("metadata.name", "metadata.namespace")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}


class FieldRequirement(msgspec.Struct, frozen=True):
    path: tuple[str, ...]
    value: str
    equal: bool = True

    def matches(self, obj: JsonObject) -> bool:
        return (field_value(obj, self.path) == self.value) is self.equal


class Selection(msgspec.Struct, frozen=True):
    """Both selectors of one request."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: JsonObject) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(rule.matches(labels) for rule in self.labels) and all(
            rule.matches(obj) for rule in self.fields
        )

    @property
    def everything(self) -> bool:
        return not self.labels and not self.fields


def field_value(obj: JsonObject, path: tuple[str, ...]) -> str:
    """The field as the API compares it: absent is "", booleans are lower case."""
    value: object = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def parse_selection(kind: Kind, labels: str, fields: str) -> Selection:
    """Raises ApiError BadRequest for text that is no selector and for fields that cannot be selected on."""
    return Selection(labelquery.parse(labels), tuple(_parse_fields(kind, fields)))


def _parse_fields(kind: Kind, text: str) -> list[FieldRequirement]:
    known = COMMON_FIELDS + (kind.custom.fields if kind.custom else FIELDS.get(kind.resource, ()))
    requirements = []
    for term in filter(None, _COMMA.findall(text)):
        match = _TERM.fullmatch(term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, sign, value = match.groups()
        name = events_view.core_field(name) if kind.stored_as else name
        if name not in known:
            own = kind.custom is not None or kind.resource in FIELDS
            generic = f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            raise bad_request(f"field label not supported: {name}" if own else generic)
        requirements.append(FieldRequirement(_path(kind, name), _unescaped(value, text), equal=sign != "!="))
    return requirements


def _unescaped(value: str, text: str) -> str:
    """``\\,``, ``\\=`` and ``\\\\`` stand for themselves, and these must be written so."""
    if re.search(r"\\(?![,=\\])", re.sub(r"\\[,=\\]", "", value)) or re.search(r"(?<!\\)(?:\\\\)*=", value):
        raise bad_request(f"invalid field selector '{text}': invalid value '{value}'")
    return re.sub(r"\\(.)", r"\1", value)


def _path(kind: Kind, name: str) -> tuple[str, ...]:
    """Where the value stands: ``source`` of an event is its component."""
    if kind.resource == "jobs.batch" and name == "status.successful":
        return ("status", "succeeded")
    if kind.resource == "events" and name == "source":
        return ("source", "component")
    return tuple(name.split("."))
