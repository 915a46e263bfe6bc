"""What was printed against what a recipe says must be printed. Pure; called by ``play``. The notation is described in ``steps``."""

from __future__ import annotations

import re
from typing import Final

from stockade.lab.demo.steps import Lines

OTHERS: Final = "..."
_PLACES: Final = {
    "{ip}": r"[0-9a-f]+([.:]+[0-9a-f]+)+",
    "{number}": r"[0-9]+",
    "{from}": r"( from [a-z0-9-]+ namespace)?",
}


def difference(prints: Lines, text: str) -> str:
    """One sentence, or nothing when all is as it should be."""
    left = [line.rstrip() for line in text.split("\n") if line.strip()]
    for wanted in prints:
        if wanted == OTHERS:
            continue
        pattern = _pattern(wanted)
        found = next((line for line in left if pattern.fullmatch(line)), None)
        if found is None:
            return f"expected the line {wanted!r}, printed was {text.strip()!r}"
        left.remove(found)
    if left and OTHERS not in prints:
        return f"unexpected lines {left!r}"
    return ""


def _pattern(wanted: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[a-z]+\})", wanted)
    return re.compile("".join(_PLACES.get(part, re.escape(part)) for part in parts))
