"""Field paths: a tuple of keys and indexes, and the API's way to write it (``spec.egress[0].ports``)."""

from __future__ import annotations

from typing import Any

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """``("spec", "egress", 0, "to")`` as ``spec.egress[0].to``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)


def value_at(obj: Any, path: Path) -> Any:
    """What stands there; None when nothing does."""
    for step in path:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj
