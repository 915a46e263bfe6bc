"""Compile a rule and find its value. Called by ``crd.rules``.

A value is JSON (None, bool, int, float, str, list, dict) or what the IP functions make. Work is counted: a rule that needs more than
``BUDGET`` steps has no value, so that no object can keep the API server busy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from stockade.lab.apiserver.cel.errors import CelError
from stockade.lab.apiserver.cel.functions import FUNCTIONS, METHODS, TYPES, kind_of
from stockade.lab.apiserver.cel.parser import Node, Parser

BUDGET = 100_000
NUMBERS = (int, float)
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TYPE_NAMES = frozenset(TYPES)


class Program(msgspec.Struct, frozen=True):
    """``names``: the free variables, ``oldSelf`` for a transition rule."""

    source: str
    tree: Node
    names: frozenset[str]

    def value(self, variables: Mapping[str, Any]) -> Any:
        """Raises CelError."""
        try:
            return _Evaluation().of(self.tree, variables)
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise CelError("no such overload") from None
        except RecursionError:
            raise CelError("the expression is nested too deeply") from None


def compile_rule(source: str, known: frozenset[str] = frozenset({"self", "oldSelf"})) -> Program:
    """Raises CelError, also for functions and variables that are not known here."""
    tree = Parser(source).parse()
    return Program(source, tree, frozenset(_check(tree, known)))


def _check(node: Node, known: frozenset[str]) -> Iterator[str]:
    """The free names of the tree."""
    if node.form == "name":
        if node.value not in known and node.value not in TYPE_NAMES:
            raise CelError(f"undeclared reference to '{node.value}'")
        yield node.value
    elif node.form == "call" and node.value not in FUNCTIONS:
        raise CelError(f"the function {node.value}() is not supported by this API server")
    elif node.form == "method" and node.value not in METHODS:
        raise CelError(f"the function .{node.value}() is not supported by this API server")
    if node.form == "macro":
        target, variable, *bodies = node.parts
        yield from _check(target, known)
        for body in bodies:
            yield from (name for name in _check(body, known | {variable.value}) if name != variable.value)
    else:
        for part in node.parts:
            yield from _check(part, known)


class _Evaluation:
    def __init__(self) -> None:
        self._left = BUDGET

    def of(self, node: Node, names: Mapping[str, Any]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise CelError("the rule needs too much work: it exceeds its budget")
        handler = getattr(self, f"_{_METHODS[node.form]}", None) if node.form in _METHODS else None
        return handler(node, names) if handler else self._binary(node, names)

    @staticmethod
    def _literal(node: Node, _: Mapping[str, Any]) -> Any:
        return node.value

    @staticmethod
    def _name(node: Node, names: Mapping[str, Any]) -> Any:
        if node.value in names:
            return names[node.value]
        if node.value in TYPE_NAMES:
            return node.value
        raise CelError(f"no such attribute: {node.value}")

    def _field(self, node: Node, names: Mapping[str, Any]) -> Any:
        target = self.of(node.parts[0], names)
        if not isinstance(target, dict):
            raise CelError(f"no such overload: field {node.value} of a {kind_of(target)}")
        name = unescape(node.value)
        if name not in target:
            raise CelError(f"no such key: {name}")
        return target[name]

    def _has(self, node: Node, names: Mapping[str, Any]) -> bool:
        target = self.of(node.parts[0], names)
        return isinstance(target, dict) and target.get(unescape(node.value)) is not None

    def _index(self, node: Node, names: Mapping[str, Any]) -> Any:
        target, key = (self.of(part, names) for part in node.parts)
        if isinstance(target, dict):
            if key not in target:
                raise CelError(f"no such key: {key}")
            return target[key]
        if isinstance(target, list) and isinstance(key, int) and 0 <= key < len(target):
            return target[key]
        raise CelError(f"index out of bounds: {key}")

    def _call(self, node: Node, names: Mapping[str, Any]) -> Any:
        return FUNCTIONS[node.value](*(self.of(part, names) for part in node.parts))

    def _method(self, node: Node, names: Mapping[str, Any]) -> Any:
        return METHODS[node.value](*(self.of(part, names) for part in node.parts))

    def _list(self, node: Node, names: Mapping[str, Any]) -> list[Any]:
        return [self.of(part, names) for part in node.parts]

    def _map(self, node: Node, names: Mapping[str, Any]) -> dict[Any, Any]:
        values = [self.of(part, names) for part in node.parts]
        return dict(zip(values[::2], values[1::2], strict=True))

    def _not(self, node: Node, names: Mapping[str, Any]) -> bool:
        return not self._truth(node.parts[0], names)

    def _negative(self, node: Node, names: Mapping[str, Any]) -> Any:
        return -self.of(node.parts[0], names)

    def _choice(self, node: Node, names: Mapping[str, Any]) -> Any:
        condition, yes, no = node.parts
        return self.of(yes if self._truth(condition, names) else no, names)

    def _truth(self, node: Node, names: Mapping[str, Any]) -> bool:
        value = self.of(node, names)
        if not isinstance(value, bool):
            raise CelError(f"no such overload: a {kind_of(value)} where a bool is wanted")
        return value

    def _either(self, node: Node, names: Mapping[str, Any]) -> bool:
        return self._absorb(((part, names) for part in node.parts), decisive=True)

    def _both(self, node: Node, names: Mapping[str, Any]) -> bool:
        return self._absorb(((part, names) for part in node.parts), decisive=False)

    def _absorb(self, parts: Iterator[tuple[Node, Mapping[str, Any]]], *, decisive: bool) -> bool:
        """A side that decides makes the other's error not matter."""
        error = None
        for part, names in parts:
            try:
                if self._truth(part, names) is decisive:
                    return decisive
            except CelError as problem:
                error = problem
        if error is not None:
            raise error
        return not decisive

    def _macro(self, node: Node, names: Mapping[str, Any]) -> Any:
        target, variable, *bodies = node.parts
        items = self.of(target, names)
        if not isinstance(items, (list, dict)):
            raise CelError(f"no such overload: {node.value} of a {kind_of(items)}")
        scopes = [{**names, variable.value: item} for item in items]
        match node.value:
            case "all" | "exists":
                each = ((bodies[0], scope) for scope in scopes)
                return self._absorb(each, decisive=node.value == "exists")
            case "exists_one":
                return sum(self._truth(bodies[0], scope) for scope in scopes) == 1
            case "filter":
                return [scope[variable.value] for scope in scopes if self._truth(bodies[0], scope)]
        if len(bodies) == 2:
            scopes = [scope for scope in scopes if self._truth(bodies[0], scope)]
        return [self.of(bodies[-1], scope) for scope in scopes]

    def _binary(self, node: Node, names: Mapping[str, Any]) -> Any:
        left, right = (self.of(part, names) for part in node.parts)
        if node.form in ("==", "!="):
            return _equal(left, right) is (node.form == "==")
        if node.form == "in":
            return any(_equal(left, item) for item in right)
        if not _comparable(left, right) and not (isinstance(left, list) and isinstance(right, list)):
            raise CelError(f"no such overload: {kind_of(left)} {node.form} {kind_of(right)}")
        if node.form in ORDER:
            return ORDER[node.form](left, right)
        return _arithmetic(node.form, left, right)


_METHODS = {
    "literal": "literal",
    "name": "name",
    "field": "field",
    "has": "has",
    "index": "index",
    "call": "call",
    "method": "method",
    "list": "list",
    "map": "map",
    "macro": "macro",
    "!": "not",
    "neg": "negative",
    "?:": "choice",
    "||": "either",
    "&&": "both",
}
_KEYWORDS = (
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
)
_RESERVED = (*_KEYWORDS, "import", "let", "loop", "package", "namespace", "return", "var", "void", "while")
_ESCAPED = {
    "__underscores__": "__",
    "__dot__": ".",
    "__dash__": "-",
    "__slash__": "/",
    **{f"__{word}__": word for word in _RESERVED},
}


def unescape(name: str) -> str:
    """Field names that are no identifiers are escaped in rules: ``self.__namespace__``."""
    for written, meant in _ESCAPED.items():
        name = name.replace(written, meant)
    return name


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def _comparable(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    sorts: tuple[Any, ...] = (NUMBERS, str, timedelta, datetime)
    return any(isinstance(left, sort) and isinstance(right, sort) for sort in sorts)


def _arithmetic(sign: str, left: Any, right: Any) -> Any:
    if sign == "+":
        return left + right
    if sign in "/%" and right == 0:
        raise CelError("division by zero" if sign == "/" else "modulus by zero")
    whole = isinstance(left, int) and isinstance(right, int)
    match sign:
        case "-":
            return left - right
        case "*" if not isinstance(left, str):
            return left * right
        case "/":
            return _quotient(left, right) if whole else left / right
        case "%" if whole:
            return left - right * _quotient(left, right)
    raise CelError(f"no such overload: {kind_of(left)} {sign} {kind_of(right)}")


def _quotient(left: int, right: int) -> int:
    """Towards zero."""
    size = abs(left) // abs(right)
    return size if (left < 0) is (right < 0) else -size
