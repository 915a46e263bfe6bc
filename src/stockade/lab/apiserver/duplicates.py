"""Keys that stand twice in one JSON object: strict decoding reports them; otherwise the last one counts.

In: a JSON body that decodes. Out: ``duplicate field "spec.egress"`` texts, each once, with the paths of strict decoding
(reference semantics 1.4). Called for bodies of POST and PUT.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


class _Object(dict[str, Any]):
    """An object that remembers its repeated keys."""

    repeated: list[str]


def _from_pairs(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    seen: set[str] = set()
    made.repeated = []
    if len(made) < len(pairs):
        for key, _ in pairs:
            if key in seen:
                made.repeated.append(key)
            seen.add(key)
    return made


def duplicate_fields(body: bytes) -> list[str]:
    found = _walk(json.loads(body, object_pairs_hook=_from_pairs), "")
    return [f'duplicate field "{path}"' for path in dict.fromkeys(found)]


def _walk(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (f"{path}.{key}".lstrip(".") for key in value.repeated)
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]")
