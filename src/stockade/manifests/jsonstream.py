"""JSON as kubectl decodes it: values one after the other, repeated keys noted, half surrogate pairs replaced.

In: text. Out: values with where they end. Called by ``manifests.yamlstream`` (a stream that begins with JSON; one JSON
document) and by ``manifests.strict`` for bodies of requests. Go's decoder keeps the last of repeated keys, refuses numbers
that no float64 holds, and reads half a surrogate pair as U+FFFD.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stockade.manifests.paths import Path

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class NumberError(ValueError):
    """A number that is too large; everything else about the text is JSON."""

    def __init__(self, number: str) -> None:
        super().__init__(f"json: cannot unmarshal number {number} into Go value of type float64")
        self.number = number


class Value(msgspec.Struct, frozen=True):
    """``end`` is the offset behind it; ``duplicates`` are the paths of keys that stand twice."""

    value: Any
    end: int
    duplicates: tuple[Path, ...]


def decode(text: str, start: int = 0) -> Value:
    """The value that begins at ``start``. Raises ValueError, NumberError among them, and RecursionError."""
    repeats = _Repeats()
    decoder = json.JSONDecoder(object_pairs_hook=repeats, parse_constant=_refuse, parse_float=_finite)
    value, end = decoder.raw_decode(text, start)
    duplicates = tuple(repeats.paths(value, ()))
    if _ESCAPED_SURROGATE.search(text, start, end):
        value = _paired(value)
    return Value(value, end, duplicates)


def has_escapes(text: str) -> bool:
    """Escapes that YAML does not read as JSON does."""
    return "\\/" in text or bool(_ESCAPED_SURROGATE.search(text))


def depth_exceeds(value: Any, limit: int) -> bool:
    """Level by level, without recursion."""
    level: list[Any] = [value]
    for _ in range(limit + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [member for member in item.values() if isinstance(member, (dict, list))]
            elif isinstance(item, list):
                inner += [member for member in item if isinstance(member, (dict, list))]
        if not inner:
            return False
        level = inner
    return True


class _Repeats:
    """A hook for the decoder. By identity; holding the object keeps its id unique."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self._found[id(made)] = made, [key for key, count in counts.items() if count > 1]
        return made

    def paths(self, value: Any, path: Path) -> Iterator[Path]:
        if not self._found:
            return
        if isinstance(value, dict):
            yield from ((*path, key) for key in self._found.get(id(value), ({}, []))[1])
        steps: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, (dict, list)):
            steps = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in steps:
            yield from self.paths(item, (*path, step))


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NumberError(text)
    return value


def _refuse(text: str) -> Any:
    message = f"json: unsupported value: {text}"
    raise ValueError(message)


def _paired(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_paired(item) for item in value]
    if isinstance(value, dict):
        return {_paired(key): _paired(item) for key, item in value.items()}
    return value
