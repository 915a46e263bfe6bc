"""``labelSelector`` in a query: ``app=web,tier in (a,b),!old,weight>3``.

In: the text. Out: its requirements, or an ApiError BadRequest with the words of apimachinery's ``labels.Parse``, whose lexer and grammar
this follows token by token. Called by ``selectors``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from stockade.lab.apiserver.failures import bad_request
from stockade.lab.apiserver.registry import ApiError
from stockade.manifests.validate import names
from stockade.model.selectors import DOES_NOT_EXIST, EXISTS, IN, NOT_IN, LabelSelectorRequirement

_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<sign>==|!=|[=!(),><])|(?P<word>[^ \t\r\n=!(),><]+)|$)")
_SIGNS = ("=", "==", "!=", ">", "<")
_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_WORDS = ("in", "notin")


class Compared(msgspec.Struct, frozen=True):
    """``key>5``, ``key<5``: a label that is an integer, and more or less."""

    key: str
    bound: int
    above: bool

    def matches(self, labels: dict[str, str]) -> bool:
        text = labels.get(self.key, "")
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", text):
            return False
        return int(text) > self.bound if self.above else int(text) < self.bound


Requirement = LabelSelectorRequirement | Compared


class _Tokens:
    """``word`` of the next token is "" at the end and for signs; ``text`` is what messages show."""

    def __init__(self, text: str) -> None:
        self._all = [(match["sign"] or "", match["word"] or "") for match in _TOKEN.finditer(text)]
        self._at = 0

    @property
    def next(self) -> tuple[str, str]:
        return self._all[self._at] if self._at < len(self._all) else ("", "")

    def take(self) -> tuple[str, str]:
        token = self.next
        self._at += 1
        return token

    def at_end(self) -> bool:
        return self.next == ("", "")


def parse(text: str) -> tuple[Requirement, ...]:
    """Raises ApiError."""
    return tuple(_requirements(_Tokens(text)))


def _requirements(tokens: _Tokens) -> Iterator[Requirement]:
    while not tokens.at_end():
        sign, word = tokens.next
        if not word and sign != "!":
            raise bad_request(f"found '{sign}', expected: !, identifier, or 'end of string'")
        yield _requirement(tokens)
        sign, word = tokens.take()
        if sign == "," and not tokens.next[1] and tokens.next[0] != "!":
            raise bad_request(f"found '{tokens.next[0]}', expected: identifier after ','")
        if word or sign not in ("", ","):
            raise bad_request(f"found '{sign or word}', expected: ',' or 'end of string'")


def _requirement(tokens: _Tokens) -> Requirement:
    sign, key = tokens.take()
    absent = sign == "!"
    if absent:
        sign, key = tokens.take()
    if not key:
        raise _unable(f"found '{sign}', expected: identifier")
    _check("<nil>", key, names.label_key(key))
    if tokens.at_end() or tokens.next[0] == ",":
        return LabelSelectorRequirement(key=key, operator=DOES_NOT_EXIST if absent else EXISTS)
    sign, word = tokens.take()
    if word in _WORDS:
        return _among(key, IN if word == "in" else NOT_IN, _values(tokens))
    if sign not in _SIGNS:
        raise _unable(f"found '{sign or word}', expected: {_OPERATORS}")
    value = _exact(tokens)
    if sign in ("<", ">"):
        return _compared(key, value, above=sign == ">")
    return _among(key, NOT_IN if sign == "!=" else IN, [value])


def _among(key: str, operator: str, values: Sequence[str]) -> LabelSelectorRequirement:
    values = sorted(set(values))
    if not values:
        why = "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        raise _unable(why)
    for index, value in enumerate(values):
        _check(f"values[{index}][{key}]", value, names.label_value(value))
    return LabelSelectorRequirement(key=key, operator=operator, values=values)


def _compared(key: str, value: str, *, above: bool) -> Compared:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
        raise _unable(
            f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
        )
    return Compared(key, int(value), above)


def _exact(tokens: _Tokens) -> str:
    if tokens.at_end() or tokens.next[0] == ",":
        return ""
    sign, word = tokens.take()
    if not word:
        raise _unable(f"found '{sign}', expected: identifier")
    return word


def _values(tokens: _Tokens) -> list[str]:
    sign, word = tokens.take()
    if sign != "(":
        raise _unable(f"found '{sign or word}' expected: '('")
    found, expects = [], True
    while True:
        sign, word = tokens.take()
        if word:
            if not expects:
                raise _unable(f"found '{word}', expected: ',' or ')'")
            found.append(word)
            expects = False
        elif sign == ",":
            if expects:
                found.append("")
            expects = True
        elif sign == ")":
            return [*found, ""] if expects and found else found
        else:
            raise _unable(f"found '{sign}', expected: ',', ')' or identifier")


def _check(field: str, value: str, errors: Sequence[str]) -> None:
    if errors:
        raise _unable(f'{field}: Invalid value: "{value}": {"; ".join(errors)}')


def _unable(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")
