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
    ("no more than 15 bytes", "port names are short: at most 15 letters, digits and hyphens"),
    ("no more than 63 bytes", "at most 63 characters"),
    ("with an optional DNS subdomain prefix", "one / at most: prefix/name"),
)
_SYNTAX = (
    ("mapping values are not allowed", "check the indentation, and put text that has a colon in quotes"),
    ("did not find expected ',' or", "close the bracket, and put text with special characters in quotes"),
    ("did not find expected key", "check the indentation: the keys of a mapping begin in one column"),
    ("did not find expected '-' indicator", "check the indentation: the items of a list begin in one column"),
    ("found unexpected end of stream", "a quote or a bracket is not closed"),
    ("invalid document separator", "write --- on a line of its own"),
    ("control characters are not allowed", "remove the control character"),
    ("unsupported map key", "put the key in quotes"),
    ("excessive aliasing", "write the values out, or use fewer aliases"),
)


def for_syntax(problem: str, line: str) -> str:
    """For text that is not YAML; ``line`` is where the reader stopped."""
    if "{{" in line:
        return "this is a template: render it first (helm template) and give the result"
    if "\t" in line[: len(line) - len(line.lstrip())] or "cannot start any token" in problem:
        return "indent with blanks, not with tabs; put text that begins with @ or ` in quotes"
    return next((hint for part, hint in _SYNTAX if part in problem), "")


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
        return _nearest(error.value, re.findall(r'"([^"]+)"', error.detail)) or _unsupported(error)
    if error.type is ErrorType.REQUIRED and error.path[-1:] == ("cidr",):
        return "add cidr, for example 10.0.0.0/8"
    hint = next((hint for part, hint in _BY_DETAIL if part in error.detail), "")
    return hint or _by_value(error, obj)


def _by_value(error: FieldError, obj: dict[str, Any]) -> str:
    hint = ""
    if error.detail == "not a valid selector operator":
        hint = _nearest(error.value, _OPERATORS) or f"one of {', '.join(_OPERATORS)}"
    elif "must be a strict subset of `cidr`" in error.detail:
        hint = f"a block inside {value_at(obj, (*error.path[:-2], 'cidr'))}"
    elif "must be greater than or equal to `port`" in error.detail:
        hint = f"{error.value} or more"
    elif error.detail.startswith("must be a valid CIDR value"):
        hint = _as_block(error.value)
    elif isinstance(error.value, str):
        hint = _as_valid(error.value, error.detail)
    return hint


def _unsupported(error: FieldError) -> str:
    if error.path[-1:] == ("protocol",):
        return "NetworkPolicy knows no other protocol; leave ports out to mean all traffic"
    return ""


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
    address, slash, _ = str(value).partition("/")
    try:
        family, _ = parse_address(address)
    except ValueError:
        is_name = bool(re.search(r"[g-zG-Z]", address)) and ":" not in address
        return (
            "a NetworkPolicy names addresses, not hosts"
            if is_name
            else "ADDRESS/LENGTH, for example 10.0.0.0/8"
        )
    bits = 32 if family == 4 else 128
    return f"the length behind / is 0..{bits}" if slash else f"write {value}/{bits} for this one address"


def _as_valid(value: str, detail: str) -> str:
    """The nearest value that would pass: names of objects and ports are narrower than label keys and values."""
    if detail.startswith("prefix part"):
        prefix, _, name = value.partition("/")
        fixed = f"{_only('a-z0-9.-', prefix.lower())}/{name}"
    elif "RFC 1123" in detail:
        fixed = _only("a-z0-9.-", value.lower())
    elif "hyphen" in detail:
        fixed = re.sub("-+", "-", _only("a-z0-9-", value.lower()))
    elif detail.startswith("name part"):
        prefix, slash, name = value.rpartition("/")
        fixed = prefix + slash + _only("A-Za-z0-9_.-", name)
    elif "valid label" in detail:
        fixed = _only("A-Za-z0-9_.-", value)
    else:
        return ""
    return f"write {fixed}" if fixed and fixed != value else ""


def _only(allowed: str, value: str) -> str:
    return re.sub(f"[^{allowed}]+", "-", value).strip("-._")
