"""What the manifests package knows about fields, in the API server's terms: defaults, validation, unknown fields.

The same rules serve ``stockade check -f`` on files; here they become Status causes and Warning headers.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests import defaults, strict
from stockade.manifests import validate as validation


class Decoding(msgspec.Struct, frozen=True):
    """``unknown`` fields can be dropped; ``fatal`` is the first value of a wrong type, which nothing forgives."""

    unknown: list[str]
    fatal: str = ""


def decode(kind: Kind, obj: JsonObject) -> Decoding:
    """Check the fields of ``obj``; drop the unknown ones and the nulls, as decoding into a typed struct would."""
    problems = strict.check_fields(obj, kind.api_version, kind.kind)
    unknown = [problem.message for problem in problems if problem.unknown]
    fatal = next((problem.message for problem in problems if not problem.unknown), "")
    if unknown and not fatal:
        strict.prune_unknown(obj, kind.api_version, kind.kind)
    if not fatal:
        strict.drop_nulls(obj, kind.api_version, kind.kind)
    return Decoding(unknown, fatal)


def duplicates(body: bytes) -> list[str]:
    """``duplicate field "spec.egress"`` for every key that a JSON object has twice. ``body`` has been decoded before."""
    return [problem.message for problem in strict.duplicate_fields(body)]


def apply_defaults(obj: JsonObject) -> None:
    """Write the defaults of the API into ``obj``."""
    defaults.apply_defaults(obj)


def validate(obj: JsonObject, old: JsonObject | None = None) -> list[Cause]:
    """Every error of ``obj``; ``old`` is the stored object on an update."""
    errors = validation.validate(obj) if old is None else validation.validate_update(obj, old)
    return [Cause(error.reason, error.body, error.field) for error in errors]


def warnings(obj: JsonObject) -> list[str]:
    """What is accepted but looks like a mistake."""
    return validation.warnings(obj)
