"""``labelSelector`` and ``fieldSelector`` query parameters.

Grammar and supported fields: apimachinery ``labels.Parse`` and ``fields.ParseSelector``, and the field label conversions
of each kind. Called by list, watch and deletecollection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from stockade.lab.apiserver.failures import bad_request
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.model.selectors import DOES_NOT_EXIST, EXISTS, IN, NOT_IN, LabelSelectorRequirement

REQUIREMENT = re.compile(
    r"""\s*(?:
      (?P<absent>!)\s*(?P<absent_key>[^\s!=,()]+)
    | (?P<key>[^\s!=,()]+)\s*(?:
          (?P<sign>==|=|!=)\s*(?P<value>[^\s!=,()]*)
        | (?P<word>in|notin)\s*\((?P<values>[^()]*)\)
      )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)

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

    labels: tuple[LabelSelectorRequirement, ...] = ()
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
    return Selection(parse_labels(labels), tuple(_parse_fields(kind, fields)))


def parse_labels(text: str) -> tuple[LabelSelectorRequirement, ...]:
    requirements, at = [], 0
    while at < len(text):
        match = REQUIREMENT.match(text, at)
        if match is None or match.end() == at:
            raise bad_request(f"unable to parse requirement: found {text[at:]!r} in label selector")
        requirements.append(_requirement(match))
        at = match.end()
    return tuple(requirements)


def _requirement(match: re.Match[str]) -> LabelSelectorRequirement:
    if match["absent"]:
        return LabelSelectorRequirement(key=match["absent_key"], operator=DOES_NOT_EXIST)
    if match["sign"]:
        operator = NOT_IN if match["sign"] == "!=" else IN
        return LabelSelectorRequirement(key=match["key"], operator=operator, values=[match["value"]])
    if match["word"]:
        values = [value.strip() for value in match["values"].split(",")]
        operator = IN if match["word"] == "in" else NOT_IN
        return LabelSelectorRequirement(key=match["key"], operator=operator, values=values)
    return LabelSelectorRequirement(key=match["key"], operator=EXISTS)


def _parse_fields(kind: Kind, text: str) -> list[FieldRequirement]:
    known = COMMON_FIELDS + (kind.custom.fields if kind.custom else FIELDS.get(kind.resource, ()))
    requirements = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([^!=]+)(==|=|!=)(.*)", term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, sign, value = match.groups()
        if name not in known:
            raise bad_request(f"field label not supported: {name}")
        requirements.append(FieldRequirement(_path(kind, name), value, equal=sign != "!="))
    return requirements


def _path(kind: Kind, name: str) -> tuple[str, ...]:
    """Where the value stands: ``source`` of an event is its component."""
    if kind.resource == "jobs.batch" and name == "status.successful":
        return ("status", "succeeded")
    if kind.resource == "events" and name == "source":
        return ("source", "component")
    return tuple(name.split("."))
