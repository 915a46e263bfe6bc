"""Regular expressions as Go reads them (RE2), for Python's ``re``.

In: a pattern from a schema or a CEL rule. Out: a compiled pattern with the same meaning, or None when Go could read it and Python cannot (scripts such as
``\\p{Greek}``, flags in the middle). Called by ``crd`` and ``cel``. What differs: ``\\pL`` and ``[[:alpha:]]``; ``$`` is the very end; ``\\d``, ``\\w``, ``\\s`` are ASCII;
Go knows no look-around and no references. Rules: the syntax page of the RE2 project, regexp/syntax of Go.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

_TOKEN = re.compile(
    r"""
      (?P<quoted>\\Q.*?(?:\\E|\Z))
    | \\(?P<sign>[pP])(?:\{(?P<not>\^?)(?P<long>\w+)\}|(?P<short>\w))
    | \\x\{(?P<code>[0-9a-fA-F]+)\}
    | (?P<escape>\\.)
    | (?P<posix>\[:\^?[a-z]+:\])
    | (?P<group>\(\?(?:P?<(?![=!])|[=!>\#(]|<[=!]|P=)?)
    | (?P<repeat>[*+?]|\{\d+(?:,\d*)?\})(?P<lazy>\??)(?P<more>[*+]?)
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CATEGORIES = {"C", "L", "M", "N", "P", "S", "Z"} | {
    *("Cc", "Cf", "Cn", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc"),
    *("Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"),
}


class _OnlyGoError(Exception):
    pass


@lru_cache(maxsize=512)
def compile_go(pattern: str) -> re.Pattern[str] | None:
    """Raises re.error for what Go refuses."""
    lines = re.search(r"\(\?[a-zA-Z]*m", pattern) is not None
    try:
        text = _translated(pattern, end="$" if lines else r"\Z")
    except _OnlyGoError:
        return None
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        if re.search(r"\(\?[imsU]+(-[imsU]+)?[:)]", pattern):  # flags: Python wants them in front
            return None
        raise


def _translated(pattern: str, end: str) -> str:
    parts: list[str] = []
    inside = False  # of brackets
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        assert token is not None  # any character is a token
        if inside and (token["group"] or token["repeat"]):
            text, at = pattern[at], at + 1
            parts.append(text)
            continue
        at = token.end()
        if token["plain"] == "[" and not inside:
            inside = True
            start = re.compile(r"\^?\]?").match(pattern, at)
            assert start is not None
            parts.append("[" + start.group().replace("]", r"\]"))
            at = start.end()
        elif token["plain"] == "]" and inside:
            inside = False
            parts.append("]")
        else:
            parts.append(_of_token(token, end, inside=inside))
    return "".join(parts)


def _of_token(token: re.Match[str], end: str, *, inside: bool) -> str:
    if token["sign"]:
        ranges = _category(token)
        return ranges if inside else f"[{ranges}]"
    if token["escape"]:
        return _of_escape(token["escape"], inside=inside)
    if token["posix"]:
        return _of_posix(token["posix"], inside=inside)
    if token["group"]:
        return _of_group(token["group"])
    return _literal(token) or _of_plain(token, end, inside=inside)


def _literal(token: re.Match[str]) -> str:
    if token["quoted"]:
        return re.escape(token["quoted"][2:].removesuffix(r"\E"))
    return re.escape(chr(min(int(token["code"], 16), sys.maxunicode))) if token["code"] else ""


def _of_plain(token: re.Match[str], end: str, *, inside: bool) -> str:
    if token["repeat"] and token["more"]:
        raise re.error(f"invalid nested repetition operator: `{token[0]}`")
    plain = token[0]
    if inside:
        return "\\" + plain if plain in "[&|~" else plain
    return end if plain == "$" else plain


def _of_escape(escape: str, *, inside: bool) -> str:
    if escape == r"\z" and not inside:
        return r"\Z"
    if escape[1] in "123456789ZuUN":
        raise re.error(f"invalid escape sequence: `{escape}`")
    return escape


def _of_group(opening: str) -> str:
    if opening in ("(?", "(?P<"):
        return opening
    if opening == "(?<":
        return "(?P<"
    raise re.error(f"invalid or unsupported Perl syntax: `{opening}`")


def _of_posix(name: str, *, inside: bool) -> str:
    if not inside:
        return name
    ranges = _POSIX.get(name.strip("[]:^"))
    if ranges is None:
        raise re.error(f"invalid character class range: `{name}`")
    if "^" in name:
        raise _OnlyGoError
    return ranges


def _category(token: re.Match[str]) -> str:
    name = token["long"] or token["short"]
    if name not in _CATEGORIES:
        raise _OnlyGoError
    return _ranges(name, (token["sign"] == "P") != bool(token["not"]))


@lru_cache(maxsize=8)
def _ranges(name: str, negated: bool) -> str:
    """The code points of a general category (or all others), as they are written in brackets."""
    parts: list[str] = []
    start = None
    for code in range(sys.maxunicode + 2):
        has = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name) != negated
        if has and start is None:
            start = code
        elif not has and start is not None:
            parts.append(rf"\U{start:08x}-\U{code - 1:08x}")
            start = None
    return "".join(parts)
