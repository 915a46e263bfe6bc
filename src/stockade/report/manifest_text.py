"""Objects as YAML that every kubectl reads as it was meant.

In: plain data (mappings, lists, strings, numbers). Out: YAML in block style. Called by ``path_text`` and ``stockade explain -o patch``.
A string stands without quotes only if no YAML reader of any age could take it for something else: label values such as ``y``,
``no``, ``1e3`` or ``0x1f`` are quoted. Readers of YAML 1.1 and 1.2 agree on double-quoted text with JSON's escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

# Lower-case words joined by the punctuation of Kubernetes names; a digit may not come first.
_PLAIN = re.compile(r"[A-Za-z]([-A-Za-z0-9._/]*[A-Za-z0-9])?\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


def documents(items: Iterable[dict[str, Any]]) -> str:
    """Several objects in one text, as ``kubectl apply -f -`` takes them; ends with a newline."""
    return "---\n".join("".join(f"{line}\n" for line in _block(item)) for item in items)


def _block(value: Any) -> Iterator[str]:
    """The lines of a value that is not empty, as they stand in column 0."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(f"{scalar(key)}:", inner, in_list=False)
    elif isinstance(value, list):
        for inner in value:
            yield from _entry("-", inner, in_list=True)


def _entry(lead: str, value: Any, *, in_list: bool) -> Iterator[str]:
    if not isinstance(value, dict | list) or not value:
        yield f"{lead} {scalar(value)}"
        return
    lines = list(_block(value))
    if in_list:  # the first line stands beside the dash
        yield f"- {lines[0]}"
        yield from (f"  {line}" for line in lines[1:])
        return
    yield lead
    indent = "" if isinstance(value, list) else "  "
    yield from (indent + line for line in lines)


def scalar(value: Any) -> str:
    """One value on one line; empty mappings and lists too."""
    plain = isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS
    return str(value) if plain else json.dumps(value, ensure_ascii=True)
