"""Field paths: a tuple of keys and indexes, and the API's way to write it (``spec.egress[0].ports``)."""

from __future__ import annotations

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


def undotted(text: str) -> Path:
    """The reverse for paths made of plain names: ``spec.egress[0].to``; a key with dots in it is split."""
    path: list[str | int] = []
    for part in text.split("."):
        name, *indexes = part.split("[")
        if name:
            path.append(name)
        path += [int(inner) if (inner := index.rstrip("]")).isdigit() else inner for index in indexes]
    return tuple(path)
