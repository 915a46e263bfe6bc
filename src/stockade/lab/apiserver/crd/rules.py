"""``x-kubernetes-validations`` of a schema: compiled when the definition is made, evaluated for each object.

In: a schema; an object, and the one it replaces. Out: FieldErrors in the API server's words. Called by ``definition`` and ``rules``. Rules:
KEP-2876: a rule stands at the value it calls ``self``; one that names ``oldSelf`` is judged on updates only (unless optionalOldSelf), and
only where the value can be found in the old object: fields by name, items of a list-map by their keys, never items of other lists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stockade.lab.apiserver.cel import CelError, Program, compile_rule
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests.paths import Path
from stockade.manifests.validate.errors import ErrorType, FieldError

RULES = "x-kubernetes-validations"
MISSING = object()


class Rule(msgspec.Struct, frozen=True):
    program: Program
    message: str
    message_program: Program | None
    error: ErrorType
    field: Path
    optional_old: bool

    @property
    def is_transition(self) -> bool:
        return "oldSelf" in self.program.names


class Ruled(msgspec.Struct, frozen=True):
    """The rules of one place in a schema and of the places below; ``type`` is what errors show as the value."""

    type: str
    rules: tuple[Rule, ...]
    fields: Mapping[str, Ruled]
    others: Ruled | None
    items: Ruled | None
    keys: tuple[str, ...]


def compile_schema(schema: JsonObject) -> Ruled | None:
    """None when there is no rule here or below. Raises CelError for a rule that cannot be compiled (see ``problems``)."""
    fields = {name: compile_schema(inner) for name, inner in (schema.get("properties") or {}).items()}
    more, items = schema.get("additionalProperties"), schema.get("items")
    others = compile_schema(more) if isinstance(more, dict) else None
    inner = compile_schema(items) if isinstance(items, dict) else None
    ruled = {name: each for name, each in fields.items() if each is not None}
    rules = tuple(_rule(given) for given in schema.get(RULES) or [])
    if not (rules or ruled or others or inner):
        return None
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    return Ruled(schema.get("type") or "object", rules, ruled, others, inner, tuple(keys))


def _rule(given: JsonObject) -> Rule:
    text = given.get("messageExpression")
    reason = given.get("reason") or "FieldValueInvalid"
    return Rule(
        program=compile_rule(given["rule"]),
        message=given.get("message") or f"failed rule: {given['rule'].strip()}",
        message_program=compile_rule(text) if text else None,
        error=ErrorType(reason),
        field=tuple(filter(None, (given.get("fieldPath") or "").split("."))),
        optional_old=bool(given.get("optionalOldSelf")),
    )


def problems(schema: JsonObject, path: Path) -> Iterator[FieldError]:
    """Rules that this server cannot evaluate, each with the reason."""
    for at, given in enumerate(schema.get(RULES) or []):
        for field in ("rule", "messageExpression"):
            text = given.get(field)
            if field == "rule" and not (text or "").strip():
                yield FieldError(ErrorType.REQUIRED, (*path, RULES, at, field), "", "rule is not specified")
            elif text:
                try:
                    compile_rule(text)
                except CelError as error:
                    yield FieldError(
                        ErrorType.INVALID,
                        (*path, RULES, at, field),
                        text,
                        f"compilation failed: ERROR: {error}",
                    )
        reason = given.get("reason")
        if reason and reason not in {
            "FieldValueInvalid",
            "FieldValueForbidden",
            "FieldValueRequired",
            "FieldValueDuplicate",
        }:
            yield FieldError(ErrorType.NOT_SUPPORTED, (*path, RULES, at, "reason"), reason)


def evaluate(ruled: Ruled, value: Any, old: Any, path: Path = ()) -> Iterator[FieldError]:
    """``old`` is MISSING on a create, and where the old object has no such value."""
    if value is None:
        return
    for rule in ruled.rules:
        error = _judge(rule, ruled.type, value, old, path)
        if error is not None:
            yield error
    if isinstance(value, dict):
        for name, item in value.items():
            inner = ruled.fields.get(name, ruled.others)
            if inner is not None:
                before = old.get(name, MISSING) if isinstance(old, dict) else MISSING
                yield from evaluate(inner, item, before, (*path, name))
    elif isinstance(value, list) and ruled.items is not None:
        for at, item in enumerate(value):
            yield from evaluate(ruled.items, item, _same_item(ruled.keys, item, old), (*path, at))


def _same_item(keys: tuple[str, ...], item: Any, old: Any) -> Any:
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return MISSING
    wanted = {key: item.get(key) for key in keys}
    for other in old:
        if isinstance(other, dict) and {key: other.get(key) for key in keys} == wanted:
            return other
    return MISSING


def _judge(rule: Rule, kind: str, value: Any, old: Any, path: Path) -> FieldError | None:
    names = {"self": value}
    if rule.is_transition:
        if old is MISSING and not rule.optional_old:
            return None
        names["oldSelf"] = None if old is MISSING else old
    elif old is not MISSING and old == value:
        return None  # what was stored under another rule may stay (ratcheting)
    message = rule.message
    try:
        if rule.program.value(names) is True:
            return None
    except CelError as error:
        message = f"{error} evaluating rule: {rule.message}"
    if rule.message_program is not None:
        with contextlib.suppress(CelError):
            message = str(rule.message_program.value(names)).strip() or message
    return FieldError(rule.error, (*path, *rule.field), kind, message)
