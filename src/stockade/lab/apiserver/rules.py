"""What is known about a kind's fields, in the API server's terms: defaults, validation, unknown fields.

For built-in kinds that is the manifests package, whose rules serve ``stockade check -f`` on files, too; for custom kinds the schema of their
CustomResourceDefinition. Here both become Status causes and Warning headers.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.crd import checking, definition, keywords
from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests import defaults, strict
from stockade.manifests import validate as validation
from stockade.manifests.validate import meta, names
from stockade.manifests.validate.errors import FieldError

IGNORED = {"jobs.batch": ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes")}
NOT_KNOWN = "the lab's controller does not know this, and a job that ignored it would mean something else"
DEPRECATED = {"endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}


class Decoding(msgspec.Struct, frozen=True):
    """``unknown`` fields can be dropped; ``fatal`` is the first value of a wrong type, which nothing forgives."""

    unknown: list[str]
    fatal: str = ""


def decode(kind: Kind, obj: JsonObject) -> Decoding:
    """Check the fields of ``obj``; drop the unknown ones and the nulls, as decoding into a typed struct would. Types of a custom
    kind's own fields are a matter of validation."""
    problems = strict.check_fields(obj, kind.api_version, kind.kind)
    unknown = [problem.message for problem in problems if problem.unknown]
    fatal = next((problem.message for problem in problems if not problem.unknown), "")
    if kind.resource == definition.DEFINITIONS and not fatal:
        fatal = keywords.wrong_type(obj)
    if unknown and not fatal:
        strict.prune_unknown(obj, kind.api_version, kind.kind)
    if not fatal:
        strict.drop_nulls(obj, kind.api_version, kind.kind)
        if kind.custom is not None:
            unknown = [*unknown, *kind.custom.decode(obj)]
    return Decoding(unknown, fatal)


def duplicates(body: bytes) -> list[str]:
    """``duplicate field "spec.egress"`` for every key that a JSON object has twice. ``body`` has been decoded before."""
    return [problem.message for problem in strict.duplicate_fields(body)]


def apply_defaults(kind: Kind, obj: JsonObject) -> None:
    """Write the defaults of the API into ``obj``."""
    if kind.custom is not None:
        kind.custom.fill(obj)
    elif kind.resource == definition.DEFINITIONS:
        checking.fill(obj)
    else:
        defaults.apply_defaults(obj)


def validate(kind: Kind, obj: JsonObject, old: JsonObject | None = None) -> list[Cause]:
    """Every error of ``obj``; ``old`` is the stored object on an update."""
    if kind.custom is not None:
        errors = _metadata(kind, obj, old) or kind.custom.validate(obj, old)
    elif old is None:
        errors = validation.validate(obj)
    else:
        errors = validation.validate_update(obj, old)
    if kind.resource == definition.DEFINITIONS and not errors:
        errors = checking.errors(obj, old)
    causes = [Cause(error.reason, error.body, error.field) for error in errors]
    return causes + [
        Cause("FieldValueForbidden", f"Forbidden: {NOT_KNOWN}", f"spec.{field}")
        for field in IGNORED.get(kind.resource, ())
        if (obj.get("spec") or {}).get(field) is not None
    ]


def _metadata(kind: Kind, obj: JsonObject, old: JsonObject | None) -> list[FieldError]:
    errors = meta.metadata_update(obj, old) if old is not None else []
    return errors + meta.metadata(obj, names.dns_subdomain, namespaced=kind.namespaced)


def warnings(kind: Kind, obj: JsonObject) -> list[str]:
    """What is accepted but looks like a mistake."""
    return validation.warnings(obj) if kind.custom is None else []


def deprecation(kind: Kind) -> list[str]:
    """Said on every request for the kind."""
    text = kind.custom.warning if kind.custom is not None else DEPRECATED.get(kind.resource, "")
    return [text] if text else []
