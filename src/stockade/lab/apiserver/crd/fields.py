"""Do the fields that a rule names exist? A misspelt one is refused with the definition, not found out by the first object.

In: a compiled rule and the schema of ``self``. Out: texts. Called by ``rules``. Rules: fields are visible to a rule when the schema declares them; what
the schema leaves open (preserved fields, plain objects, int-or-string) is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping

from stockade.lab.apiserver.cel.parser import Node
from stockade.lab.apiserver.cel.program import unescape
from stockade.lab.apiserver.registry import JsonObject

IDENTITY = ("apiVersion", "kind", "metadata")
OPEN = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"


class Fields:
    """``errors`` are what was found on the way."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def schema_of(self, node: Node, scope: Mapping[str, JsonObject | None]) -> JsonObject | None:
        """The schema of the value that ``node`` stands for; None when nothing is known about it."""
        if node.form == "name":
            return scope.get(node.value)
        if node.form == "macro":
            return self._macro(node, scope)
        known = [self.schema_of(part, scope) for part in node.parts]
        if node.form in ("field", "has"):
            return self._field(known[0], unescape(node.value))
        if node.form == "index":
            return _inner(known[0])
        return None

    def _macro(self, node: Node, scope: Mapping[str, JsonObject | None]) -> JsonObject | None:
        target, variable, *bodies = node.parts
        held = self.schema_of(target, scope)
        item = _inner(held) if held is not None and held.get("type") == "array" else None
        for body in bodies:
            self.schema_of(body, {**scope, variable.value: item})
        return held if node.value == "filter" else None

    def _field(self, holder: JsonObject | None, name: str) -> JsonObject | None:
        declared = (holder or {}).get("properties") or {}
        if holder is None or name in declared:
            return declared.get(name)
        if not declared or holder.get(OPEN) or holder.get("additionalProperties") is not None:
            return _inner(holder)
        if not (holder.get(EMBEDDED) and name in IDENTITY):
            self.errors.append(f"undefined field '{name}'")
        return None


def _inner(schema: JsonObject | None) -> JsonObject | None:
    for key in ("items", "additionalProperties"):
        inner = (schema or {}).get(key)
        if isinstance(inner, dict):
            return inner
    return None


def undefined(tree: Node, schema: JsonObject, *, root: bool) -> list[str]:
    own = {**schema, EMBEDDED: True} if root else schema
    if root:
        declared = {
            key: value for key, value in (schema.get("properties") or {}).items() if key != "metadata"
        }
        own["properties"] = declared
    fields = Fields()
    fields.schema_of(tree, {"self": own, "oldSelf": own})
    return fields.errors
