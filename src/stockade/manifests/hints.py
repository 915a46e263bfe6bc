"""What to write instead: one short hint for each kind of mistake.

In: a problem of ``manifests.strict`` or ``manifests.validate`` and the object it is about. Out: a hint, or nothing when there is
nothing better to say than the message. Called by ``manifests.load``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from stockade.manifests import schema
from stockade.manifests.paths import Path, dotted, go_quoted, value_at
from stockade.manifests.schema import TypeSpec
from stockade.manifests.strict import DecodeProblem
from stockade.manifests.validate import ErrorType, FieldError
from stockade.net.cidr import parse_address

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_BY_DETAIL = (
    ("must be between 1 and 65535", "a port is 1..65535"),
    ("must contain at least one letter", "a port number is written without quotes; a name has a letter"),
    ("`port` is not specified", "add port, the first port of the range"),
    ("`port` is non-numeric", "write port as a number, or leave endPort out"),
    (
        "must specify a peer",
        "give a podSelector, namespaceSelector or ipBlock, or leave the list out to mean everyone",
    ),
    ("both ipBlock and another peer", "give ipBlock a list item of its own"),
    ("`operator` is 'In' or 'NotIn'", "list the values, or use Exists or DoesNotExist"),
    ("`operator` is 'Exists'", "leave values out, or use In or NotIn"),
    ("name or generateName is required", "add metadata.name"),
    ("does not match template `labels`", "give the template the labels that the selector asks for"),
    ("more than two policyTypes", "list Ingress and Egress once each"),
)


def for_decode(problem: DecodeProblem, obj: dict[str, Any], api_version: str, kind: str) -> str:
    """For unknown fields and wrong types."""
    if problem.unknown:
        return _unknown(problem, api_version, kind)
    return _wrong_type(value_at(obj, problem.path), problem.expected)


def wrong_type(value: Any, expected: str) -> str:
    """What is wrong, in words: ``must be a number, not a string``."""
    wanted = {
        "int32": "a whole number",
        "int64": "a whole number",
        "intOrString": "a whole number or a name",
        "bool": "true or false",
        "list": "a list",
        "map": "a mapping",
        "object": "a mapping",
        "time": "a time such as 2006-01-02T15:04:05Z",
        "microTime": "a time such as 2006-01-02T15:04:05.000000Z",
        "quantity": "a quantity such as 100m or 1Gi",
        "bytes": "base64 text",
    }.get(expected, "a string")
    return f"must be {wanted}, not {_described(value)}"


def for_field(error: FieldError, obj: dict[str, Any]) -> str:
    """For values that the server would refuse."""
    if error.type is ErrorType.NOT_SUPPORTED:
        return _nearest(error.value, re.findall(r'"([^"]+)"', error.detail))
    hint = next((hint for part, hint in _BY_DETAIL if part in error.detail), "")
    if error.detail == "not a valid selector operator":
        hint = _nearest(error.value, _OPERATORS) or f"one of {', '.join(_OPERATORS)}"
    elif "must be a strict subset of `cidr`" in error.detail:
        hint = f"a block inside {value_at(obj, (*error.path[:-2], 'cidr'))}"
    elif "must be greater than or equal to `port`" in error.detail:
        hint = f"{error.value} or more"
    elif error.detail.startswith("must be a valid CIDR value"):
        hint = _as_block(error.value)
    elif "RFC 1123" in error.detail and isinstance(error.value, str):
        hint = _as_name(error.value)
    return hint


def kind_hint(kind: str, known: Iterable[str]) -> str:
    return _nearest(kind, list(known))


def _unknown(problem: DecodeProblem, api_version: str, kind: str) -> str:
    name, known = str(problem.path[-1]), problem.known
    if not name.isascii():
        return ""
    hint = _nearest(name, known) or _misplaced(name, list(_types(api_version, kind, problem.path[:-1])))
    return hint or (f"known here: {', '.join(known)}" if len(known) <= 8 else "")


def _misplaced(name: str, chain: list[tuple[Path, TypeSpec]]) -> str:
    """The field exists further up, or one level further down."""
    if not chain:  # a foreign kind, of which only metadata is known
        return ""
    for path, spec in reversed(chain[:-1]):
        if name in spec.fields:
            return f"{name} belongs in {dotted(path) or 'the object itself'}"
    path, here = chain[-1]
    for field in here.fields.values():
        if field.type == "object" and name in schema.types()[field.ref].fields:
            return f"{name} belongs in {dotted((*path, field.name))}"
    return ""


def _types(api_version: str, kind: str, path: Path) -> Iterator[tuple[Path, TypeSpec]]:
    """The object types from the root down to ``path``."""
    spec = schema.type_of(api_version, kind)
    for index in range(len(path) + 1):
        if spec is None:
            return
        if index == len(path) or isinstance(path[index], str):
            yield path[:index], spec
        if index < len(path) and isinstance(path[index], str):
            field = spec.fields.get(str(path[index]))
            spec = schema.types().get(field.ref) if field else None


def _nearest(given: Any, known: Iterable[str]) -> str:
    """``write Egress`` for ``egress`` and ``Egres``."""
    options = list(known)
    same = {option.lower(): option for option in options}
    text = str(given)
    folded = text.lower().replace("_", "").replace("-", "")
    if folded in same:
        return f"write {same[folded]}"
    longer = [option for option in options if len(folded) > 2 and option.lower().startswith(folded)]
    if len(longer) == 1:
        return f"write {longer[0]}"
    close = get_close_matches(text.lower(), same, n=1, cutoff=0.7)
    return f"write {same[close[0]]}" if close else ""


def _wrong_type(value: Any, expected: str) -> str:
    if expected in {"int32", "int64"} and isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return f"write {value} without quotes"
    if expected in {"string", "list", "object", "map", "bool"}:
        return {
            "string": "put it in quotes" if isinstance(value, (bool, int, float)) else "",
            "list": f"write [{value}]"
            if isinstance(value, str) and value.isprintable()
            else "begin it with a dash: one list item",
            "bool": "true or false, without quotes" if isinstance(value, str) else "",
        }.get(expected, "")
    return ""


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "a string" if len(value) > 40 else f"the string {go_quoted(value)}"
    return "a list" if isinstance(value, list) else "a mapping"


def _as_block(value: Any) -> str:
    try:
        family, _ = parse_address(str(value))
    except ValueError:
        return ""
    return f"write {value}/{32 if family == 4 else 128} for this one address"


def _as_name(value: str) -> str:
    fixed = re.sub(r"[^a-z0-9.-]+", "-", value.lower()).strip("-.")
    return f"write {fixed}" if fixed and fixed != value else ""
