"""What the manifests package knows about fields, in the API server's terms: defaults, validation, unknown fields.

The same rules serve ``stockade check -f`` on files; here they become Status causes and Warning headers.
"""

from __future__ import annotations

from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject


def apply_defaults(kind: Kind, obj: JsonObject) -> None:
    """Write the defaults of the API into ``obj``."""


def validate(kind: Kind, obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Every error of ``obj``; ``old`` is the stored object on an update."""
    return []


def check_fields(kind: Kind, obj: JsonObject) -> tuple[list[str], str]:
    """Unknown fields, each as ``unknown field "spec.x"``, and the first type error, which no validation level forgives."""
    return [], ""


def warnings(kind: Kind, obj: JsonObject) -> list[str]:
    """What is accepted but looks like a mistake."""
    return []
