"""The grammar of CEL: text to a tree of ``Node``. Called by ``program``.

A node's ``form`` is one of literal (value), name, field (target, name), index (target, key), call (name, arguments), method (name, target and
arguments), list, map (keys and values in turn), macro (name, target, variable as a literal, body …), has (target of a field), and the operators
``&& || ! neg ?:`` and binary signs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.lab.apiserver.cel.errors import CelError
from stockade.lab.apiserver.cel.tokens import Token, tokenize

MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
BINARY = ({"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">=", "in"}, {"+", "-"}, {"*", "/", "%"})
CONSTANTS = {"true": True, "false": False, "null": None}
MOST_NESTED = 60


class Node(msgspec.Struct, frozen=True):
    form: str
    value: Any = None
    parts: tuple[Node, ...] = ()


class Parser:
    def __init__(self, source: str) -> None:
        self._tokens = list(tokenize(source))
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        tree = self._expression()
        if self._next.sort != "end":
            raise self._unexpected()
        return tree

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _unexpected(self) -> CelError:
        found = self._next
        return CelError(f"syntax error at {found.at + 1}: unexpected {found.text or 'end of the expression'}")

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _accept(self, text: str) -> bool:
        found = self._next.sort in ("sign", "name") and self._next.text == text
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected()

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise CelError(f"the expression is nested more than {MOST_NESTED} levels deep")
        condition = self._binary(0)
        if self._accept("?"):
            yes = self._binary(0)
            self._expect(":")
            condition = Node("?:", parts=(condition, yes, self._expression()))
        self._depth -= 1
        return condition

    def _binary(self, level: int) -> Node:
        if level == len(BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while self._next.sort in ("sign", "name") and self._next.text in BINARY[level]:
            sign = self._take().text
            left = Node(sign, parts=(left, self._binary(level + 1)))
        return left

    def _unary(self) -> Node:
        signs = []
        while self._next.sort == "sign" and self._next.text in ("!", "-"):
            signs.append(self._take().text)
        tree = self._member()
        for sign in reversed(signs):
            tree = Node("!" if sign == "!" else "neg", parts=(tree,))
        return tree

    def _member(self) -> Node:
        tree = self._primary()
        while True:
            if self._accept("."):
                name = self._name()
                tree = self._method(tree, name) if self._accept("(") else Node("field", name, (tree,))
            elif self._accept("["):
                key = self._expression()
                self._expect("]")
                tree = Node("index", parts=(tree, key))
            else:
                return tree

    def _name(self) -> str:
        if self._next.sort != "name":
            raise self._unexpected()
        return self._take().text

    def _method(self, target: Node, name: str) -> Node:
        arguments = self._list(")")
        if name not in MACROS:
            return Node("method", name, (target, *arguments))
        if len(arguments) not in MACROS[name]:
            raise CelError(f"the macro {name} takes {MACROS[name][0]} arguments")
        if arguments[0].form != "name":
            raise CelError(f"the first argument of the macro {name} must be a variable")
        return Node("macro", name, (target, *arguments))

    def _list(self, end: str) -> list[Node]:
        items: list[Node] = []
        while not self._accept(end):
            if items:
                self._expect(",")
                if self._accept(end):
                    break
            items.append(self._expression())
        return items

    def _primary(self) -> Node:
        token = self._next
        if self._accept("("):
            tree = self._expression()
            self._expect(")")
            return tree
        if self._accept("["):
            return Node("list", parts=tuple(self._list("]")))
        if self._accept("{"):
            return Node("map", parts=tuple(self._entries()))
        self._at += 1
        literal = _literal(token)
        if literal is not None:
            return literal
        if token.sort == "name" and token.text != "in":
            return self._call(token.text) if self._accept("(") else Node("name", token.text)
        self._at -= 1
        raise self._unexpected()

    def _entries(self) -> list[Node]:
        entries: list[Node] = []
        while not self._accept("}"):
            if entries:
                self._expect(",")
            entries.append(self._expression())
            self._expect(":")
            entries.append(self._expression())
        return entries

    def _call(self, name: str) -> Node:
        arguments = self._list(")")
        if name == "has":
            if len(arguments) != 1 or arguments[0].form != "field":
                raise CelError("invalid argument to has() macro: it takes a field selection")
            return Node("has", arguments[0].value, arguments[0].parts)
        return Node("call", name, tuple(arguments))


def _literal(token: Token) -> Node | None:
    match token.sort:
        case "int" | "uint":
            return Node("literal", int(token.text, 0) if token.text[:2] == "0x" else int(token.text))
        case "float":
            return Node("literal", float(token.text))
        case "string":
            return Node("literal", token.text)
        case "name" if token.text in CONSTANTS:
            return Node("literal", CONSTANTS[token.text])
    return None
