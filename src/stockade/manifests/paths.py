"""Field paths: a tuple of keys and indexes, and the API's way to write it (``spec.egress[0].ports``)."""

from __future__ import annotations

from typing import Any

Path = tuple[str | int, ...]

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {'"': '\\"', "\\": "\\\\"}


def dotted(path: Path) -> str:
    """``("spec", "egress", 0, "to")`` as ``spec.egress[0].to``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            name = step if step.isprintable() else go_quoted(step)[1:-1]
            parts.append(f".{name}" if parts else name)
    return "".join(parts)


def go_quoted(text: str) -> str:
    """In double quotes as Go's ``%q`` writes it: nothing that could move a terminal's cursor comes through."""
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def value_at(obj: Any, path: Path) -> Any:
    """What stands there; None when nothing does."""
    for step in path:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj
