"""Tokens of CEL. Called by ``parser``."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from stockade.lab.apiserver.cel.errors import CelError

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
      | (?P<int>0x[0-9a-fA-F]+|\d+)(?P<unsigned>[uU]?)
      | (?P<string>[rR]?(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


class Token(msgspec.Struct, frozen=True):
    """``sort`` is int, uint, float, string, name, sign or end."""

    sort: str
    text: str
    at: int


def tokenize(source: str) -> Iterator[Token]:
    """Ends with a token of sort ``end``."""
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise CelError(f"syntax error at {at + 1}: unexpected {source[at]!r}")
        sort, text = str(match.lastgroup), match.group()
        if match["int"]:
            sort, text = ("uint" if match["unsigned"] else "int"), match["int"]
        elif match["string"]:
            text = _unquote(text)
        if sort != "space":
            yield Token(sort, text, at)
        at = match.end()
    yield Token("end", "", at)


def _unquote(text: str) -> str:
    if text[0] in "rR":
        return text[2:-1]

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code.isdigit() and len(code) == 3:
            return chr(int(code, 8))
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(plain, text[1:-1])
