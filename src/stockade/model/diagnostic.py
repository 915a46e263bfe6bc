"""Diagnostic: one thing that is wrong, where, and what to do about it. Used by every layer above."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Position(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``code`` is stable and documented; ``path`` is the field path; ``hint`` says what to write instead."""

    code: str
    message: str
    severity: Severity = Severity.ERROR
    path: str = ""
    object: str = ""
    position: Position | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        subject = f"{self.object}: " if self.object else ""
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.severity.value}: {subject}{path}{self.message}{hint}"
